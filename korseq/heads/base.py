"""What every head is: the one place that knows what a target is, how it is learnt and what a prediction looks like."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from korseq.labels import LabelSet
from korseq.nn.embeddings import EmbeddingModule, EmbeddingStage
from korseq.nn.encoders.base import Encoded
from korseq.nn.sequences import Batch
from korseq.shapes import Shape
from korseq.spans import LabeledSpan, UnitKind

Reads: TypeAlias = Literal["label", "spans", "pairs", "text"]


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

    rows_of_vocabulary: ClassVar[frozenset[str]] = frozenset()
    """Its parameters with a row for each token of a vocabulary, which may grow."""

    @property
    def cost(self) -> int:
        """How much larger its answers make a batch than the tokens it reads: batches of predictions are so much smaller."""
        return 1

    def quick(self) -> HeadModule:
        """The same weights, answering as fast as can be: for the scores of a model that is still trained."""
        return self

    def prepare(self, targets: Tensor) -> None:
        """Called once, with the targets of the whole training set, before training begins; most heads need nothing of it.

        Raises:
            DataError: If nothing can be learnt of them.
        """
        return

    def converted(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights of a trained head with the same settings, so that they say the same here, after `prepare`."""
        return weights

    @abstractmethod
    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        """encoded.states (B, T, H) of a batch → logits; their shape is the head's own."""

    @abstractmethod
    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """The sum of the losses and the number of terms in it: whoever averages over several batches must weight them."""

    @abstractmethod
    def divergence(self, one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
        """How far apart two logits of the same batch are, as dropout makes them, summed over the terms of the loss: half the sum
        of both Kullback-Leibler divergences between what they say (Liang et al. 2021, equation 2)."""

    @abstractmethod
    def answers(self, encoded: Encoded, batch: Batch) -> Sequence[Prediction]:
        """One a sequence of the batch."""


class LogitsHead(HeadModule):
    """A built head whose predictions are read from its logits."""

    def answers(self, encoded: Encoded, batch: Batch) -> Sequence[Prediction]:
        logits = self(encoded, batch)
        with torch.autocast(logits.device.type, enabled=False):
            return self.predictions(logits, batch)

    @abstractmethod
    def predictions(self, logits: Tensor, batch: Batch) -> Sequence[Prediction]:
        """What the logits of a batch say."""


class Head(ABC):
    """Settings of a head."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The entry of `korseq.training.metrics.METRICS` that scores its predictions, or each step of them."""

    @abstractmethod
    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        """The labels among the target values of the training data.

        Raises:
            ValueError: If the values are nothing this head could learn; says why and what to do.
        """

    @abstractmethod
    def target(self, value: Any, labels: LabelSet) -> int | float | list[Any] | tuple[LabeledSpan, ...] | str:
        """What the loss needs for one target value as it stands in the data; of a head that predicts of units, the spans of
        characters that their targets are made of; of one that predicts of steps, a list of what it needs for each; of one that
        writes, the text.

        Raises:
            ValueError: If the value is not one this head knows; says why.
        """

    @property
    def reads(self) -> Reads:
        """What it learns from; see `korseq.data.readers.read`."""
        return "spans" if self.unit else "label"

    @property
    def texts(self) -> int:
        """How many texts it predicts of: one, or a pair of them."""
        return 1

    @property
    def each_step(self) -> bool:
        """Whether it predicts of every step of a sequence of numbers."""
        return False

    @property
    def reports_loss(self) -> bool:
        """Whether the loss on data that is evaluated is one of its scores."""
        return False

    @property
    def keeps_analyses(self) -> bool:
        """Whether its answers are about places in the text, to find which the text's analysis is needed."""
        return self.unit is not None

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

    def answer_labels(self, labels: LabelSet) -> Sequence[str]:
        """The labels that a person finds in predictions."""
        return labels.labels

    @abstractmethod
    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        """The shape of its predictions as dictionaries."""

    def stratum(self, value: Any) -> Hashable:
        """Rows with equal strata are shared out between train and dev; what only one row has, of a tuple each part that only one
        row has, stays in train. By default all rows are alike: in a random part, numbers and the many labels of a text are in
        proportion."""
        return ""

    def canonical(self, value: Any) -> Any:
        """The target value in the form in which metrics compare it with predictions."""
        return value

    def lesson(self, answers: Sequence[Mapping[str, Any]]) -> Any:
        """What the answers of trained pipelines with such a head, its teachers, say of a text together: a target value.

        Args:
            answers: Of one text, as dictionaries; one a teacher.

        Raises:
            ValueError: If nothing is to be learnt of such answers.
        """
        raise ValueError(f"{type(self).__name__} cannot learn from other pipelines' answers")

    @property
    def blends(self) -> bool:
        """Whether a target value and a lesson can be mixed; otherwise texts that have a target are not for teachers."""
        return False

    def blended(self, own: Any, lesson: Any, weight: float) -> Any:
        """The target value of a text that has one of its own and a lesson, whose share is `weight`; without a lesson (None), its
        own as a lesson would say it. Only if the head blends them."""
        raise NotImplementedError
