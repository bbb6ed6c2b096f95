"""A prediction for every step of a sequence of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Any

import torch
from torch import Tensor

from korseq.heads.base import Head, HeadModule, LogitsHead, Prediction
from korseq.heads.classifier import Classifier
from korseq.heads.regressor import Regressor
from korseq.labels import LabelSet
from korseq.nn.embeddings import EmbeddingModule
from korseq.nn.encoders.base import Encoded
from korseq.nn.pooling import LastPooling
from korseq.nn.sequences import Batch
from korseq.registry import Plug, chosen, component
from korseq.shapes import Shape


@dataclass(frozen=True, slots=True)
class Steps:
    """The answers for the steps of one sequence, in order."""

    steps: tuple[Prediction, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"steps": [step.as_dict() for step in self.steps]}


@component
class EachStep(Head):
    """Another head's prediction for every step instead of one for the whole: labels or numbers, as many as there are steps.

    For sequences of numbers; what is tagged in a text is told by a `Tagger`.

    Args:
        head: A `Classifier` or a `Regressor`. Its pooling means nothing here: a step has one state.
    """

    head: Annotated[Head, Plug("head")] = Classifier()

    @property
    def metric(self) -> str:
        return self.head.metric

    @property
    def each_step(self) -> bool:
        return True

    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        return self.head.learn_labels(chain.from_iterable(map(_steps, values)))

    def target(self, value: Any, labels: LabelSet) -> list[Any]:
        return [self.head.target(step, labels) for step in _steps(value)]

    def canonical(self, value: Any) -> tuple[Any, ...]:
        return tuple(map(self.head.canonical, _steps(value)))

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> EachStepModule:
        head = self.head
        if isinstance(head, Classifier | Regressor):
            head = replace(head, pooling=(LastPooling(),))
        return EachStepModule(head.build(input_size, labels, stages))

    def contradictions(self) -> list[str]:
        if isinstance(self.head, Classifier | Regressor):
            pooled = "pooling" in chosen(self.head)
            mistakes = (
                ["head.pooling: has no meaning for steps, which have one state each; leave it out"] if pooled else []
            )
            return [f"head.{mistake}" for mistake in mistakes + self.head.contradictions()]
        return [f"head.head: {type(self.head).__name__} is not about steps; use a Classifier or a Regressor"]

    def has_labels_of(self, other: Head) -> bool:
        return isinstance(other, EachStep) and self.head.has_labels_of(other.head)

    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        return {"steps": [self.head.columns(labels)]}


class EachStepModule(LogitsHead):
    """The other head over all real states, each as a sequence of its own."""

    def __init__(self, head: HeadModule) -> None:
        super().__init__()
        assert isinstance(head, LogitsHead)
        self.head = head

    def named_rows(self, parameter: str, labels: LabelSet) -> tuple[tuple[int, ...], Sequence[str]] | None:
        return self.head.named_rows(parameter.removeprefix("head."), labels)

    def prepare(self, targets: Tensor) -> None:
        self.head.prepare(targets)

    def converted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        inner = {name.removeprefix("head."): weight for name, weight in weights.items()}
        return {f"head.{name}": weight for name, weight in self.head.converted(inner).items()}

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        """Logits of the n real steps of the batch, sequence by sequence: (n, …)."""
        states = encoded.states[batch.mask]  # (n, H)
        logits: Tensor = self.head(Encoded(states.unsqueeze(1), states), _alone(batch, len(states)))
        return logits

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        return self.head.loss(logits, targets)

    def divergence(self, one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
        return self.head.divergence(one, other, targets)

    def predictions(self, logits: Tensor, batch: Batch) -> list[Steps]:
        found = iter(self.head.predictions(logits, _alone(batch, len(logits))))
        return [Steps(tuple(next(found) for _ in range(count))) for count in batch.mask.sum(dim=1).tolist()]


def _alone(batch: Batch, count: int) -> Batch:
    """A batch of so many sequences of one step."""
    mask = torch.ones(count, 1, dtype=torch.bool, device=batch.mask.device)
    return replace(batch, ids={}, parts={}, mask=mask)


def _steps(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r:.80} is no list; the head EachStep needs a label for every step")
    return value
