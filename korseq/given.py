"""Vectors that a network is given: those inside Kiwi's model. They go into it when it is built, and again when it is loaded, for
a saved pipeline leaves them out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from korseq.data.encoded import cache_folder
from korseq.errors import CheckpointError, ConfigError
from korseq.model import SequenceModel
from korseq.nn.embeddings import ContextVectors, EmbeddingModule, ProjectedVectors
from korseq.specials import SPECIALS
from korseq.text.kiwi_contexts import STEPS, LeftContexts, left_contexts
from korseq.text.kiwi_vectors import MorphemeVectors, centred, morpheme_vectors
from korseq.text.vocabulary import Vocabulary

# They are scaled so that their elements are about 1, as what the other stages learn to give: with vectors of length 1 the encoder
# would hardly see them beside the others (KMOU-NER F1 0.01 to 0.02 lower).
_LENGTH = 16.0


def morphemes() -> tuple[str, ...]:
    """What the vocabulary of stages that read Kiwi's vectors lists."""
    return _vectors().tokens


def give(module: EmbeddingModule) -> None:
    """Put them into a module that is to have them; any other stays as it is.

    Raises:
        ConfigError: If the Kiwi that is installed has no such vectors.
    """
    if isinstance(module, ProjectedVectors):
        vectors = _vectors()
        module.fill(_table(vectors), torch.from_numpy(vectors.landmarks))
    elif isinstance(module, ContextVectors):
        _fill(module, _contexts())


def give_again(model: SequenceModel, vocabularies: Mapping[str, Vocabulary], folder: str) -> None:
    """Put them back into a network whose weights were loaded, as they were in its training.

    Raises:
        CheckpointError: If the Kiwi that is installed has others.
    """
    for module, feature in zip(model.embeddings.stages, model.embeddings.features, strict=True):
        try:
            if isinstance(module, ContextVectors):
                _require(_vectors().tokens == vocabularies[feature].tokens, "morphemes")
                _require(_contexts().checksum == int(module.checksum), "contexts of words")
                _fill(module, _contexts())
            elif isinstance(module, ProjectedVectors) and module.frozen:
                _require(_vectors().tokens == vocabularies[feature].tokens, "morphemes")
                module.fill(_table(_vectors().aligned_to(module.landmarks.cpu().numpy())), module.landmarks)
        except (ValueError, ConfigError) as error:
            raise CheckpointError(
                f"{folder}: {error}; install the versions of kiwipiepy and kiwipiepy_model that its card names, or train it again"
            ) from None


def _require(same: bool, what: str) -> None:
    if not same:
        raise ValueError(f"the installed Kiwi model has other {what}")


def _vectors() -> MorphemeVectors:
    return _vectors_in(cache_folder())


@lru_cache(maxsize=1)
def _vectors_in(folder: Path) -> MorphemeVectors:
    """Read once: their checksum takes a tenth of a second."""
    return morpheme_vectors(folder)


@lru_cache(maxsize=1)
def _contexts() -> LeftContexts:
    return left_contexts()


def _table(vectors: MorphemeVectors) -> Tensor:
    """(V, 256): rows of zeros for the four specials, then the centred vectors of the tokens."""
    table = torch.zeros(len(SPECIALS) + len(vectors.tokens), vectors.vectors.shape[1])
    table[len(SPECIALS) :] = torch.from_numpy(centred(vectors.vectors)[vectors.ids]).mul_(_LENGTH)
    return table


def _fill(module: ContextVectors, contexts: LeftContexts) -> None:
    ids = torch.from_numpy(_vectors().ids)
    of_vocabulary = torch.cat([ids.new_full((len(SPECIALS),), -1), ids])
    arrays = map(torch.from_numpy, (contexts.ranks, contexts.codes, contexts.rows, contexts.table))
    module.fill(of_vocabulary, *arrays, scale=_LENGTH / STEPS, checksum=contexts.checksum)
