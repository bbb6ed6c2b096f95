"""Regression on whole texts, or pairs of them: one number each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from korseq.errors import DataError
from korseq.heads.base import Head, LogitsHead
from korseq.labels import LabelSet
from korseq.nn.dropout import Dropout
from korseq.nn.embeddings import EmbeddingModule
from korseq.nn.encoders.base import Encoded
from korseq.nn.pooling import AttentionPooling, Pooling, Poolings, pooling_contradictions, several, texts_of
from korseq.nn.sequences import Batch
from korseq.registry import Plug, Rate, component
from korseq.shapes import Shape

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True, slots=True)
class Regression:
    """The answer of a regressor for one text, in the units of the data."""

    value: float

    def as_dict(self) -> dict[str, Any]:
        return {"value": self.value}


@component
class Regressor(Head):
    """One number a text, learnt by mean squared error.

    Args:
        pooling: How states become one vector; several are concatenated.
        dropout: On the pooled vector.
    """

    pooling: Annotated[Pooling | tuple[Pooling, ...], Plug("pooling", many=True)] = (AttentionPooling(),)
    dropout: Rate = 0.0

    @property
    def metric(self) -> str:
        return "regression"

    @property
    def texts(self) -> int:
        return texts_of(self.pooling)

    def contradictions(self) -> list[str]:
        return pooling_contradictions(self.pooling, "head.pooling")

    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        """No labels; but the values must differ, and by more than is lost when the model reads them as float32."""
        if len({float(np.float32(self.canonical(v))) for v in values}) < 2:
            raise ValueError(
                "a regressor needs values that differ, but all texts have the same; check the label column"
            )
        return LabelSet(())

    def target(self, value: Any, labels: LabelSet) -> float:
        return self.canonical(value)

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> RegressorModule:
        return RegressorModule(self, input_size)

    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        return {"value": float}

    def lesson(self, answers: Sequence[Mapping[str, Any]]) -> float:
        """The mean."""
        return fmean(answer["value"] for answer in answers)

    @property
    def blends(self) -> bool:
        return True

    def blended(self, own: Any, lesson: float | None, weight: float) -> float:
        return self.canonical(own) if lesson is None else weight * lesson + (1 - weight) * self.canonical(own)

    def canonical(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{value!r} is not a number; the head Regressor needs numbers, labels need the head Classifier"
            ) from None
        if not abs(number) <= _LARGEST:  # NaN is not either
            raise ValueError(f"{value!r} is not a finite number (of at most {_LARGEST:.1e})")
        return number


class RegressorModule(LogitsHead):
    """Pooling and a linear layer to one standardised number; its unit is learnt from the training data."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: Regressor, input_size: int) -> None:
        super().__init__()
        self.pooling = Poolings(several(settings.pooling), input_size)
        self.dropout = Dropout(settings.dropout)
        self.output = nn.Linear(self.pooling.output_size, 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def prepare(self, targets: Tensor) -> None:
        if targets.min() == targets.max():  # nothing to measure by
            raise DataError(
                f"a regressor needs values that differ, but all {len(targets):,} to learn from are {targets[0]:g}; give more "
                "rows, or a dev file, so that none are set apart"
            )
        self.mean.copy_(targets.double().mean())  # squares of large float32 numbers would be infinite
        self.deviation.copy_(targets.double().std())

    def converted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """In the units of the new data, which the mean and the deviation stay of: answers are as they were."""
        old = {name: weight.to(self.mean.device) for name, weight in weights.items()}
        scale, shift = old["deviation"] / self.deviation, (old["mean"] - self.mean) / self.deviation
        return {
            **old,
            "mean": self.mean,
            "deviation": self.deviation,
            "output.weight": old["output.weight"] * scale,
            "output.bias": old["output.bias"] * scale + shift,
        }

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        logits: Tensor = self.output(self.dropout(self.pooling(encoded, batch.mask)))
        return logits.float().squeeze(1)  # (B,)

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """Squared error in units of the training data's variance. logits (B,), targets (B,)."""
        return ((logits - (targets - self.mean) / self.deviation) ** 2).sum(), len(targets)

    def divergence(self, one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
        """Half the squared difference: the divergence of normal distributions with the variance of the training data."""
        return ((one - other) ** 2).sum() / 2

    def predictions(self, logits: Tensor, batch: Batch) -> Sequence[Regression]:
        deviation, mean = self.deviation.item(), self.mean.item()  # the logits may be on another device than the head
        return [Regression(value * deviation + mean) for value in logits.tolist()]
