"""Label sets: what a model can answer, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable

from korseq.errors import did_you_mean


class LabelSet:
    """Distinct labels and their indices. Unlike a vocabulary it has no specials: there is no unknown label.

    Args:
        labels: In the order of their indices.

    Raises:
        ValueError: If a label stands twice.
    """

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self._indices = {label: i for i, label in enumerate(self.labels)}
        if len(self._indices) != len(self.labels):
            raise ValueError(f"a label stands twice in {list(self.labels)}")

    def index(self, label: str) -> int:
        """The index of a label.

        Raises:
            ValueError: If there is no such label; the message names the nearest one.
        """
        try:
            return self._indices[label]
        except KeyError:
            raise ValueError(f"unknown label {label!r}{did_you_mean(label, self.labels)}") from None

    def __contains__(self, label: object) -> bool:
        return label in self._indices

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSet) and self.labels == other.labels

    def __hash__(self) -> int:
        return hash(self.labels)

    def __repr__(self) -> str:
        return f"LabelSet({list(self.labels)})"
