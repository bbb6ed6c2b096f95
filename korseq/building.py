"""Settings and vocabularies → the network, with pretrained vectors where a stage begins with them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from korseq.config import Config
from korseq.data.encoded import cache_folder
from korseq.errors import CheckpointError, ConfigError
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.nn.embeddings import (
    ContextVectors,
    Embedding,
    EmbeddingModule,
    Embeddings,
    EmbeddingStage,
    ProjectedVectors,
)
from korseq.nn.encoders.base import Stack
from korseq.prepare import TARGET, piece_vocabularies, unit_feature
from korseq.specials import SPECIALS
from korseq.text.kiwi_contexts import STEPS, LeftContexts, left_contexts
from korseq.text.kiwi_vectors import MorphemeVectors, centred, morpheme_vectors
from korseq.text.vectors import read_vectors
from korseq.text.vocabulary import Vocabulary


def _vectors() -> MorphemeVectors:
    return _vectors_in(cache_folder())


@lru_cache(maxsize=1)
def _vectors_in(folder: Path) -> MorphemeVectors:
    """Read once: their checksum takes a tenth of a second."""
    return morpheme_vectors(folder)


@lru_cache(maxsize=1)
def _contexts() -> LeftContexts:
    return left_contexts()


def fixed_vocabularies(config: Config) -> dict[str, Vocabulary]:
    """Those that do not depend on what the training data has: of stages whose vectors come with the analyzer, and of pieces."""
    features = [stage.feature for stage in config.embeddings if stage.reads_kiwi_vectors()]
    return {feature: Vocabulary(_vectors().tokens) for feature in features} | piece_vocabularies(config)


def build_model(
    config: Config,
    vocabularies: Mapping[str, Vocabulary],
    labels: LabelSet,
    pretrained: bool,
    missing_ok: bool = False,
) -> SequenceModel:
    """The network.

    Args:
        pretrained: Begin with pretrained vectors; False if trained weights will be loaded anyway.
        missing_ok: Their files may be gone, as trained weights will be loaded that have most of them.

    Raises:
        ConfigError: If the stages do not fit each other, or pretrained vectors do not fit their stage.
        DataError: If a file of pretrained vectors cannot be read.
    """

    def built(stage: EmbeddingStage, feature: str) -> EmbeddingModule:
        return _stage(stage, vocabularies[feature], pretrained, missing_ok)

    stages = [built(stage, stage.feature) for stage in config.embeddings]
    own_stages = [built(stage, unit_feature(stage.feature)) for stage in config.head.stages]
    written = config.target_embedding
    if written is not None:
        own_stages = [stages[config.embeddings.index(written)] if _is_shared(config) else built(written, TARGET)]
    if config.told_stage is not None:
        own_stages = [stages[config.embeddings.index(config.told_stage)]]
    embeddings = Embeddings(stages, [stage.feature for stage in config.embeddings])
    try:
        encoder = Stack(config.encoders, embeddings.output_size)
    except ValueError as error:
        raise ConfigError(f"encoder: {error}") from None
    try:
        head = config.head.build(encoder.output_size, labels, own_stages)
    except ValueError as error:
        raise ConfigError(f"head: {error}") from None
    return SequenceModel(embeddings, encoder, head)


def _is_shared(config: Config) -> bool:
    """Whether the embedding of a decoder is the encoder's own: one vocabulary serves both, and the stage is tied."""
    stage = config.target_embedding
    return config.target_tokenizer is None and isinstance(stage, Embedding) and stage.tie and stage in config.embeddings


def _stage(stage: EmbeddingStage, vocabulary: Vocabulary, pretrained: bool, missing_ok: bool) -> EmbeddingModule:
    table = None
    file = stage.pretrained_file()
    if pretrained and missing_ok and file and not Path(file).exists():
        warnings.warn(f"{file}: is not there; tokens that are new to the pipeline begin at random", stacklevel=2)
    elif pretrained and file:
        table = torch.from_numpy(read_vectors(file, vocabulary))
        if table.shape[1] != stage.size:
            raise ConfigError(f"embedding: {file} has vectors of {table.shape[1]} numbers; set size = {table.shape[1]}")
    module = stage.build(len(vocabulary), table)
    if pretrained and isinstance(module, ProjectedVectors):
        vectors = _vectors()
        module.fill(_table(vectors), torch.from_numpy(vectors.landmarks))
    elif pretrained and isinstance(module, ContextVectors):
        _fill_contexts(module)
    return module


# Given vectors are scaled so that their elements are about 1, as what the other stages learn to give: with vectors of length 1
# the encoder would hardly see them beside the others (KMOU-NER F1 0.01 to 0.02 lower).
_LENGTH = 16.0


def _table(vectors: MorphemeVectors) -> Tensor:
    """(V, 256): rows of zeros for the four specials, then the centred vectors of the tokens."""
    table = torch.zeros(len(SPECIALS) + len(vectors.tokens), vectors.vectors.shape[1])
    table[len(SPECIALS) :] = torch.from_numpy(centred(vectors.vectors)[vectors.ids]).mul_(_LENGTH)
    return table


def _fill_contexts(module: ContextVectors) -> None:
    found = _contexts()
    morphemes = torch.full((len(SPECIALS) + len(_vectors().tokens),), -1, dtype=torch.int32)
    morphemes[len(SPECIALS) :] = torch.from_numpy(_vectors().ids)
    arrays = map(torch.from_numpy, (found.ranks, found.codes, found.rows, found.table))
    module.fill(morphemes, *arrays, scale=_LENGTH / STEPS, checksum=found.checksum)


def restore_vectors(model: SequenceModel, vocabularies: Mapping[str, Vocabulary], folder: str) -> None:
    """Put the vectors that a saved pipeline took out of Kiwi, and does not hold itself, back into its network.

    Raises:
        CheckpointError: If the Kiwi that is installed has others.
    """
    for stage, feature in zip(model.embeddings.stages, model.embeddings.features, strict=True):
        frozen = isinstance(stage, ContextVectors) or (isinstance(stage, ProjectedVectors) and stage.frozen)
        if not frozen:
            continue
        vectors = _vectors()
        try:
            if vectors.tokens != vocabularies[feature].tokens:
                raise ValueError("the installed Kiwi model has other morphemes")
            if isinstance(stage, ProjectedVectors):
                stage.fill(_table(vectors.aligned_to(stage.landmarks.cpu().numpy())), stage.landmarks)
            elif isinstance(stage, ContextVectors):
                if int(stage.checksum) != _contexts().checksum:
                    raise ValueError("the installed Kiwi model has other contexts of words")
                _fill_contexts(stage)
        except ValueError as error:
            raise CheckpointError(
                f"{folder}: {error}; install the version of kiwipiepy that its card names, or train it again"
            ) from None
