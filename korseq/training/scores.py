"""What an evaluation found, and what metrics have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    Attributes:
        values: Everything, ready for JSON.
        main: The key of `values` by which models are compared.
        higher_is_better: How they are compared.
    """

    values: dict[str, Any]
    main: str
    higher_is_better: bool = True

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def better_than(self, other: float | None) -> bool:
        """Anything is better than nothing, and a number than NaN, which the predictions of a diverged model score."""
        value = self.values[self.main]
        if other is None or math.isnan(other):
            return other is None or not math.isnan(value)
        return bool(value > other if self.higher_is_better else value < other)


def f1(true_positives: int, predicted: int, gold: int) -> dict[str, float]:
    """Precision, recall and their harmonic mean; 0 where a denominator is 0."""
    precision = true_positives / predicted if predicted else 0.0
    recall = true_positives / gold if gold else 0.0
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * true_positives / (predicted + gold) if predicted + gold else 0.0,
    }
