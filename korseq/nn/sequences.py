"""Padded sequences as the network reads them: of tokens, and of the units that a tagger tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from korseq.nn.embeddings import BatchParts


@dataclass(frozen=True)
class Sequences:
    """The symbols of a batch of sequences; T is the length of the longest.

    Attributes:
        ids: feature → (B, T) int64, 0 = padding, on the right: ids of the vocabulary or, for a feature with parts, rows
            of its `parts`.
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
