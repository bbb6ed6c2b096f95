"""Numbers instead of tokens: every step of a sequence is a vector of figures."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from korseq.nn.dropout import Dropout
from korseq.nn.embeddings.base import BatchParts, EmbeddingModule, EmbeddingStage
from korseq.registry import Rate, component
from korseq.specials import SPECIALS


@component
class FeatureSequence(EmbeddingStage):
    """Reads sequences of numeric vectors in the place of texts: yearly figures, measurements; one step makes a single vector.

    Nothing is learnt but the mean and the deviation of each figure in the training data.

    Args:
        scale: "standard": a figure's mean becomes 0 and its deviation 1. "log": the same after sign(x) log(1 + |x|), for figures
            whose ratios matter, such as amounts of money. "none": as it is.
        deltas: Beside each figure stands how much it has changed since the step before (Furui 1986), as many deviations of its
            changes; 0 in the first step, and where either is missing.
        indicators: Beside each figure stands whether it was missing (Che et al. 2018). A missing one itself reads as the mean.
        dropout: Share of the numbers that training sets to zero.
    """

    scale: Literal["standard", "log", "none"] = "standard"
    deltas: bool = False
    indicators: bool = True
    dropout: Rate = 0.0

    feature: Literal["numbers"] = "numbers"  # these three come with the data, and have no other values
    min_count: Literal[1] = 1
    max_size: None = None

    @property
    def reads_numbers(self) -> bool:
        return True

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> ScaledNumbers:
        return ScaledNumbers(self, vocabulary_size - len(SPECIALS))


class ScaledNumbers(EmbeddingModule):
    """(x - mean) / deviation; how x has changed; and which x are missing."""

    mean: Tensor
    deviation: Tensor
    deviation_of_deltas: Tensor

    def __init__(self, settings: FeatureSequence, figures: int) -> None:
        super().__init__()
        self.scale, self.deltas, self.indicators = settings.scale, settings.deltas, settings.indicators
        self.output_size = figures * (1 + settings.deltas + settings.indicators)
        self.register_buffer("mean", torch.zeros(figures))
        self.register_buffer("deviation", torch.ones(figures))
        self.register_buffer("deviation_of_deltas", torch.ones(figures))
        self.dropout = Dropout(settings.dropout)

    def prepare(self, values: Tensor, offsets: Tensor) -> None:
        """values (N, F), NaN where one is missing. A figure that never varies reads as 0, one that is always missing too."""
        values = self._compressed(values.double())  # squares of large float32 numbers would be infinite
        mean = values.nanmean(dim=0)
        self.mean.copy_(mean.nan_to_num())
        if self.scale != "none":
            self.deviation.copy_(_deviation(values - mean, mean))
        inside = torch.ones(len(values), dtype=torch.bool)
        inside[offsets[:-1]] = False  # the first steps
        self.deviation_of_deltas.copy_(_deviation(values.diff(dim=0)[inside[1:]], mean))

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        """ids (B, T, F), the figures, NaN where one is missing; mask (B, T) → (B, T, F to 3F), zero at padding."""
        values = self._compressed(ids)
        missing = values.isnan()
        scaled = values if self.scale == "none" else (values - self.mean) / self.deviation
        read = [torch.where(missing, self.mean if self.scale == "none" else 0.0, scaled)]
        if self.deltas:
            changes = torch.diff(values, dim=1, prepend=values[:, :1]) / self.deviation_of_deltas
            read.append(torch.where(changes.isnan(), 0.0, changes))
        if self.indicators:
            read.append(missing.float())
        # A number far beyond those of training must not make the answer infinite.
        farthest = 1e30 if self.scale == "none" else 1e9
        bounded = torch.cat(read, dim=2).clamp(-farthest, farthest)
        output: Tensor = self.dropout(bounded * mask.unsqueeze(2))
        return output

    def _compressed(self, values: Tensor) -> Tensor:
        return values.sign() * values.abs().log1p() if self.scale == "log" else values


def _deviation(differences: Tensor, mean: Tensor) -> Tensor:
    """The root of the mean square of differences (N, F), where there are any; 1 where they are nothing beside the mean (F,)."""
    deviation = differences.square().nanmean(dim=0).sqrt().nan_to_num()
    return torch.where(deviation > 1e-6 * (1 + mean.abs().nan_to_num()), deviation, 1.0)
