"""Units: the places of a batch that a tagger tags. Each reads the states of one token or of several in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from korseq.nn.embeddings import BatchParts


@dataclass(frozen=True)
class UnitBatch:
    """The units of a batch of sequences; U is the greatest number of units in a sequence.

    Attributes:
        ids: feature → (B, U) int64, 0 = padding, on the right; as `ids` of tokens.
        parts: feature → those of the distinct keys among the units.
        mask: (B, U) bool, True = a real unit; every row has one.
        first, last: (B, U) int64: the tokens that a unit reads, the last included; 0 at padding.
    """

    ids: Mapping[str, Tensor]
    parts: Mapping[str, BatchParts]
    mask: Tensor
    first: Tensor
    last: Tensor

    def to(self, device: torch.device) -> UnitBatch:
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        ids = {feature: move(tensor) for feature, tensor in self.ids.items()}
        parts = {feature: BatchParts(*map(move, tensors)) for feature, tensors in self.parts.items()}
        return UnitBatch(ids, parts, move(self.mask), move(self.first), move(self.last))
