"""Batches as the network reads them: padded sequences of tokens, the units that a tagger tags, and what is to be learnt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from korseq.nn.embeddings import BatchParts


@dataclass(frozen=True)
class Sequences:
    """The symbols of a batch of sequences; T is the length of the longest.

    Attributes:
        ids: feature → (B, T) int64, 0 = padding, on the right: ids of the vocabulary or, for a feature with parts, rows
            of its `parts`. Of numbers (B, T, F) float32, NaN where one is missing.
        parts: feature → those of the distinct keys in the batch.
        mask: (B, T) bool, True = a real symbol; every row has one.
    """

    ids: Mapping[str, Tensor]
    parts: Mapping[str, BatchParts]
    mask: Tensor

    def to(self, device: torch.device) -> Self:
        """The same with every tensor on a device."""
        return replace(self, **{field.name: _moved(getattr(self, field.name), device) for field in fields(self)})


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _moved(one, device) for key, one in value.items()}
    if isinstance(value, BatchParts):
        return BatchParts(*(_moved(tensor, device) for tensor in value))
    return value.to(device) if isinstance(value, Sequences) else value


@dataclass(frozen=True)
class UnitBatch(Sequences):
    """The units of a batch of sequences; U is the greatest number of units in a sequence. ids and mask are (B, U).

    Attributes:
        first, last: (B, U) int64: the tokens that a unit reads, the last included; 0 at padding.
    """

    first: Tensor
    last: Tensor


@dataclass(frozen=True)
class Batch(Sequences):
    """Padded sequences of tokens, and what is to be learnt of them. Where examples are pairs of texts there are two rows of
    tokens for each, one after the other.

    Attributes:
        targets: (B,) or (B, K); (B, U) with -1 = padding if there are units; (B, S) ids from `<bos>` to `<eos>` with 0 = padding
            if sequences are to be learnt; those of all real steps, end to end, if each has one; None when predicting.
        indices: Which examples of the data these are.
        units: What a tagger tags; None for what is predicted of whole texts.
    """

    targets: Tensor | None
    indices: NDArray[np.int64]
    units: UnitBatch | None = None

    @property
    def tokens(self) -> int:
        """Real tokens: of the targets if these are sequences of ids, else of what is read."""
        targets = self.targets
        if targets is None or targets.dim() < 2 or targets.is_floating_point() or self.units is not None:
            return int(self.mask.sum())
        return int((targets > 0).sum()) - len(targets)  # nothing has to tell `<bos>`
