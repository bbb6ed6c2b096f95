"""Classification of whole texts, or pairs of them: binary, multi-class and multi-label."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.heads.base import Head, LogitsHead
from korseq.labels import LabelSet
from korseq.nn.divergence import binary_divergence, divergence
from korseq.nn.dropout import Dropout
from korseq.nn.embeddings import EmbeddingModule
from korseq.nn.encoders.base import Encoded
from korseq.nn.pooling import AttentionPooling, Pooling, Poolings, pooling_contradictions, several, texts_of
from korseq.nn.sequences import Batch
from korseq.registry import Plug, Rate, component
from korseq.shapes import Shape

# What probabilities that people write may lack to 1.
_ROUNDED = 0.02


@dataclass(frozen=True, slots=True)
class Classification:
    """The answer of a classifier for one text.

    Attributes:
        label: The most probable label.
        score: Its probability.
        probabilities: Those of all labels, in the order of the label set.
    """

    label: str
    score: float
    probabilities: tuple[float, ...] = field(repr=False)
    label_set: LabelSet = field(repr=False, compare=False)

    @property
    def scores(self) -> dict[str, float]:
        """The probability of every label."""
        return dict(zip(self.label_set.labels, self.probabilities, strict=True))

    def as_dict(self) -> dict[str, Any]:
        return {"label": self.label, "score": self.score, "scores": self.scores}


@dataclass(frozen=True, slots=True)
class MultiLabelClassification:
    """The answer of a multi-label classifier for one text.

    Attributes:
        labels: Those with a probability of at least one half, in the order of the label set; perhaps none.
        probabilities: Those of all labels, each on its own; they do not sum to one.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...] = field(repr=False)
    label_set: LabelSet = field(repr=False, compare=False)

    @property
    def scores(self) -> dict[str, float]:
        """The probability of every label."""
        return dict(zip(self.label_set.labels, self.probabilities, strict=True))

    def as_dict(self) -> dict[str, Any]:
        return {"labels": list(self.labels), "scores": self.scores}


@component
class Classifier(Head):
    """One label a text, or with `multi_label` any number of them.

    Args:
        pooling: How states become one vector; several are concatenated.
        multi_label: Every label is decided on its own. In files, labels of one text stand in one cell, separated by `|`.
        binary: Tell two labels apart by one logit, whose sigmoid is the probability of the second of them, instead of by one
            logit each. Their order is that of the alphabet.
        hidden_size: Width of a layer between pooling and labels; None for no such layer.
        dropout: On the pooled vector, and on the hidden layer.
        label_smoothing: Probability mass given evenly to all labels in training (Szegedy et al. 2016); not for multi-label.

    A label may be given as probabilities, {"긍정": 0.8, "부정": 0.2}: so say several people who disagree, or a teacher
    (Hinton et al. 2015). Labels that are not named have none. Metrics compare with the likeliest.
    """

    pooling: Annotated[Pooling | tuple[Pooling, ...], Plug("pooling", many=True)] = (AttentionPooling(),)
    multi_label: bool = False
    binary: bool = False
    hidden_size: int | None = Field(default=None, ge=1)
    dropout: Rate = 0.0
    label_smoothing: Rate = 0.0

    @property
    def metric(self) -> str:
        return "multi_label" if self.multi_label else "classification"

    @property
    def texts(self) -> int:
        return texts_of(self.pooling)

    def learn_labels(self, values: Iterable[Any]) -> LabelSet:
        found = {label for value in values for label in self._names(value)}
        if not self.multi_label and len(found) < 2:
            raise ValueError(
                f"a classifier needs at least two labels, the data has {sorted(found) or 'none'}; check the label column"
            )
        if self.binary and len(found) != 2:
            raise ValueError(
                f"a binary classifier tells two labels apart, the data has {len(found)}, such as {sorted(found)[:3]}; leave "
                "out head.binary"
            )
        if len(found) > 1000:
            raise ValueError(
                f"{len(found)} different labels, such as {sorted(found)[:3]}: is this the label column? Numbers need a Regressor"
            )
        if not found:
            raise ValueError("no text has a label; check the label column")
        return LabelSet(sorted(found))

    def _names(self, value: Any) -> Iterable[str]:
        """The labels that a value names."""
        if isinstance(value, Mapping):
            return self._shares(value)
        found: str | tuple[str, ...] = self.canonical(value)
        return (found,) if isinstance(found, str) else found

    def target(self, value: Any, labels: LabelSet) -> int | list[float]:
        """The index of the label; or, of probabilities and with `multi_label`, a number for each."""
        if isinstance(value, Mapping):
            given = {labels.index(label): share for label, share in self._shares(value).items()}
            return [given.get(i, 0.0) for i in range(len(labels))]
        if not self.multi_label:
            return labels.index(self.canonical(value))
        indices = {labels.index(label) for label in self.canonical(value)}
        return [float(i in indices) for i in range(len(labels))]

    def _shares(self, value: Mapping[Any, Any]) -> dict[str, float]:
        """The probability of each label that is named; they make 1 together, but with `multi_label`."""
        given = _probabilities(value)
        total = 1.0 if self.multi_label else sum(given.values())
        if not abs(total - 1) < _ROUNDED or max(given.values()) > 1:
            raise ValueError(f"the probabilities {value!r:.200} must be at most 1 each, and make 1 together")
        return {label: share / total for label, share in given.items()}

    def has_labels_of(self, other: Head) -> bool:
        """Any number of them, but for two where the one logit of `binary` is about two."""
        return isinstance(other, Classifier) and (other.binary or not self.binary)

    def build(self, input_size: int, labels: LabelSet, stages: Sequence[EmbeddingModule] = ()) -> ClassifierModule:
        return ClassifierModule(self, input_size, labels)

    def contradictions(self) -> list[str]:
        senseless = {"label_smoothing": self.label_smoothing > 0, "binary": self.binary} if self.multi_label else {}
        mistakes = [
            f"head.{name}: has no meaning with multi_label; leave it out" for name, given in senseless.items() if given
        ]
        return mistakes + pooling_contradictions(self.pooling, "head.pooling")

    def stratum(self, value: Any) -> Hashable:
        label: Hashable = self.canonical(value)
        return label

    def lesson(self, answers: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The mean probability of every label."""
        known = [sorted(answer["scores"]) for answer in answers]
        for others in known[1:]:
            if others != known[0]:
                raise ValueError(f"know different labels, {known[0]} and {others}")
        return {label: fmean(answer["scores"][label] for answer in answers) for label in answers[0]["scores"]}

    @property
    def blends(self) -> bool:
        return True

    def blended(self, own: Any, lesson: Mapping[str, float] | None, weight: float) -> dict[str, float]:
        """Hinton et al. 2015, section 2, at a temperature of 1."""
        shares = self._shares(own) if isinstance(own, Mapping) else dict.fromkeys(self._names(own), 1.0)
        if lesson is None:
            return shares
        return {label: weight * share + (1 - weight) * shares.get(label, 0.0) for label, share in lesson.items()}

    def columns(self, labels: LabelSet) -> Mapping[str, Shape]:
        scores: dict[str, Shape] = dict.fromkeys(labels.labels, float)
        return (
            {"labels": [str], "scores": scores}
            if self.multi_label
            else {"label": str, "score": float, "scores": scores}
        )

    def canonical(self, value: Any) -> Any:
        """A label as a string, the likeliest of several; with `multi_label` a tuple of them, of probabilities those of at least
        one half."""
        if isinstance(value, Mapping):
            shares = self._shares(value)
            if self.multi_label:
                return tuple(sorted(label for label, share in shares.items() if share >= 0.5))
            return max(sorted(shares), key=shares.__getitem__)
        if self.multi_label:
            several = (
                value.split("|") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
            )
            return tuple(_label(v) for v in several if not _is_empty(v))
        if isinstance(value, list | tuple):
            raise ValueError(
                f"{value!r} is a list; set multi_label = true in the head if a text can have several labels"
            )
        return _label(value)


def _probabilities(value: Mapping[Any, Any]) -> dict[str, float]:
    """Of each label that is named; Arrow names all, with None for most."""
    found = {_label(label): share for label, share in value.items() if share is not None}
    if not found:
        raise ValueError("the label is empty")
    for label, share in found.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not share >= 0:
            raise ValueError(f"the probability of the label {label!r} is {share!r}, which is none")
    return found


def _is_empty(value: Any) -> bool:
    """None, NaN (as pandas writes an empty cell), or nothing but spaces."""
    return value is None or value != value or str(value).strip() == ""


def _label(value: Any) -> str:
    if _is_empty(value):
        raise ValueError("the label is empty")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


class ClassifierModule(LogitsHead):
    """Pooling, an optional hidden layer, and a linear layer to K logits."""

    def __init__(self, settings: Classifier, input_size: int, labels: LabelSet) -> None:
        super().__init__()
        self.labels, self.multi_label, self.label_smoothing = labels, settings.multi_label, settings.label_smoothing
        self.binary = settings.binary
        self.pooling = Poolings(several(settings.pooling), input_size)
        size = self.pooling.output_size
        self.hidden = (
            nn.Identity()
            if settings.hidden_size is None
            else nn.Sequential(nn.Linear(size, settings.hidden_size), nn.ReLU(), Dropout(settings.dropout))
        )
        self.dropout = Dropout(settings.dropout)
        self.output = nn.Linear(settings.hidden_size or size, 1 if self.binary else len(labels))

    def named_rows(self, parameter: str, labels: LabelSet) -> tuple[tuple[int, ...], Sequence[str]] | None:
        if parameter not in ("output.weight", "output.bias"):
            return None
        # One logit is about both labels, and so of use only if both are the same.
        return (0,), (" or ".join(labels.labels),) if self.binary else labels.labels

    def forward(self, encoded: Encoded, batch: Batch) -> Tensor:
        logits: Tensor = self.output(self.hidden(self.dropout(self.pooling(encoded, batch.mask))))
        logits = logits.float()
        # The softmax of (0, z) is (1 - sigmoid(z), sigmoid(z)).
        return F.pad(logits, (1, 0)) if self.binary else logits  # (B, K)

    def loss(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        """Cross-entropy. logits (B, K); targets (B,) indices, or (B, K) zeros and ones with `multi_label`."""
        if self.multi_label:
            return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1).sum(), len(targets)
        smoothing = self.label_smoothing if self.training else 0.0
        return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum"), len(targets)

    def divergence(self, one: Tensor, other: Tensor, targets: Tensor) -> Tensor:
        return binary_divergence(one, other).mean(dim=1).sum() if self.multi_label else divergence(one, other)

    def predictions(
        self, logits: Tensor, batch: Batch
    ) -> Sequence[Classification] | Sequence[MultiLabelClassification]:
        names = self.labels.labels
        if self.multi_label:
            rows = torch.sigmoid(logits).tolist()
            return [
                MultiLabelClassification(
                    tuple(n for n, p in zip(names, row, strict=True) if p >= 0.5), tuple(row), self.labels
                )
                for row in rows
            ]
        probabilities = torch.softmax(logits, dim=1)
        best = probabilities.argmax(dim=1).tolist()
        return [
            Classification(names[i], row[i], tuple(row), self.labels)
            for i, row in zip(best, probabilities.tolist(), strict=True)
        ]
