"""Units: the places of a batch that a tagger tags. Each reads the states of one token or of several in a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class UnitBatch:
    """The units of a batch of sequences; U is the greatest number of units in a sequence.

    Attributes:
        ids: feature → (B, U) int64, 0 = padding, on the right; as `ids` of tokens.
        parts: feature → (P, W) int64; as `parts` of tokens.
        mask: (B, U) bool, True = a real unit; every row has one.
        first, last: (B, U) int64: the tokens that a unit reads, the last included; 0 at padding.
    """

    ids: Mapping[str, Tensor]
    parts: Mapping[str, Tensor]
    mask: Tensor
    first: Tensor
    last: Tensor

    def to(self, device: torch.device) -> UnitBatch:
        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {feature: tensor.to(device, non_blocking=True) for feature, tensor in tensors.items()}

        mask, first, last = (t.to(device, non_blocking=True) for t in (self.mask, self.first, self.last))
        return UnitBatch(move(self.ids), move(self.parts), mask, first, last)
