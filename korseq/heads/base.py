"""What every head is: the one place that knows what a target is, how it is learnt and what a prediction looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from korseq.labels import LabelSet
from korseq.nn.embeddings import EmbeddingModule, EmbeddingStage
from korseq.nn.encoders.base import Encoded
from korseq.nn.sequences import UnitBatch
from korseq.shapes import Shape
from korseq.spans import LabeledSpan, UnitKind


class Prediction(Protocol):
    """A frozen result for one text."""

    def as_dict(self) -> dict[str, Any]:
        """Only strings, numbers, lists and dictionaries, for JSON."""
        ...


class HeadModule(nn.Module, ABC):
    """A built head."""

    def named_rows(self, parameter: str, labels: LabelSet) -> tuple[tuple[int, ...], Sequence[str]] | None:
        """Which dimensions of a parameter count labels (or parts of them), and what their rows are called; None for no such
        parameter. Fine-tuning with other labels keeps what belongs to the names that stay."""
        return None

    def prepare(self, targets: Tensor) -> None:
        """Called once, with the targets of the whole training set, before training begins; most heads need nothing of it."""
        return

    @abstractmethod
    def forward(self, encoded: Encoded, mask: Tensor, units: UnitBatch | None = None) -> Tensor:
        """encoded.states (B, T, H), mask (B, T) → logits; their shape is the head's own. Heads of whole texts have no units."""

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """The sum of the losses and the number of terms in it: whoever averages over several batches must weight them."""

    @abstractmethod
    def predictions(self, logits: Tensor, units: UnitBatch | None = None) -> Sequence[Prediction]:
        """One a sequence of the batch."""


class Head(ABC):
    """Settings of a head."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The entry of `korseq.training.metrics.METRICS` that scores its predictions."""

    @abstractmethod
    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        """The labels among the target values of the training data.

        Raises:
            ValueError: If the values are nothing this head could learn; says why and what to do.
        """

    @abstractmethod
    def target(self, value: Any, labels: LabelSet) -> int | float | list[float] | tuple[LabeledSpan, ...]:
        """What the loss needs for one target value as it stands in the data; of a head that predicts of units, the spans of
        characters that their targets are made of.

        Raises:
            ValueError: If the value is not one this head knows; says why.
        """

    @property
    def unit(self) -> UnitKind | None:
        """What it predicts of: each unit of a text (see `korseq.text.units`), or None for the whole text."""
        return None

    @property
    def stages(self) -> tuple[EmbeddingStage, ...]:
        """Embedding stages that read units; the head is built with their modules."""
        return ()

    @abstractmethod
    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> HeadModule:
        """The module, over states of width `input_size`."""

    def contradictions(self) -> list[str]:
        """Settings of this head that do not go together, one message each."""
        return []

    def has_labels_of(self, other: Head) -> bool:
        """Whether the label sets of the two heads are of the same kind, so that one may begin with the other's."""
        return type(self) is type(other)

    def answers(self, labels: LabelSet) -> Sequence[str]:
        """The labels that a person finds in predictions."""
        return labels.labels

    @abstractmethod
    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        """The shape of its predictions as dictionaries."""

    def stratum(self, value: Any) -> str:
        """Rows with equal strata are shared out between train and dev; what only one row has stays in train."""
        return str(value)

    def canonical(self, value: Any) -> Any:
        """The target value in the form in which metrics compare it with predictions."""
        return value
