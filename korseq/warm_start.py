"""Starting from a trained pipeline: what is known is copied, what is new keeps its fresh initial weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from korseq.config import Config
from korseq.errors import ConfigError
from korseq.labels import LabelSet
from korseq.model import SequenceModel
from korseq.saving import Saved
from korseq.text.vocabulary import Vocabulary


def warm_start(
    model: SequenceModel, vocabularies: Mapping[str, Vocabulary], labels: LabelSet, config: Config, origin: Saved
) -> None:
    """Copy a trained pipeline's weights into a new model.

    Embeddings go token by token, since the new vocabularies begin with the old ones; the encoder goes whole; of the head
    go the rows of the labels that both know, if the head has the same settings, and nothing otherwise.

    Raises:
        ConfigError: If tokenizer, embedding, encoder or sequence differ: their weights would mean nothing here.
    """
    for part in ("tokenizer", "embedding", "encoder", "sequence"):
        here, there = getattr(config, part), getattr(origin.config, part)
        if here != there:
            raise ConfigError(
                f"{part}: differs from the pipeline to start from, which has {there}; use the same, or train from nothing"
            )
    prefix = "head."
    pairs = [(labels.index(label), i) for i, label in enumerate(origin.labels.labels) if label in labels]
    fresh = model.state_dict()
    for name, old in origin.weights.items():
        if name.startswith(prefix) and config.head != origin.config.head:
            continue
        dimensions = model.head.by_label.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if dimensions:
            fresh[name] = _by_label(fresh[name], old, pairs, dimensions)
        elif fresh[name].shape == old.shape:
            fresh[name] = old
        elif name.endswith("table.weight"):
            fresh[name] = torch.cat([old.to(fresh[name].device), fresh[name][len(old) :]])  # the rows of new tokens
    model.load_state_dict(fresh)


def _by_label(fresh: Tensor, old: Tensor, pairs: list[tuple[int, int]], dimensions: tuple[int, ...]) -> Tensor:
    """`fresh` with what belongs to labels that `old` has too; pairs are (index here, index there)."""
    here, there = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(dim=1)
    result = fresh.clone()
    if dimensions == (0,):
        result[here] = old[there].to(result.device)
    else:  # labels down and across
        result[here[:, None], here] = old[there[:, None], there].to(result.device)
    return result
