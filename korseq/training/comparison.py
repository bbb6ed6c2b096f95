"""Two models on the same texts: whether one is better, or only happened to be (paired bootstrap; Koehn 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from korseq.errors import ConfigError
from korseq.heads.each_step import Steps
from korseq.training.bootstrap import RESAMPLES, resampled
from korseq.training.measures import Measure, Numbers
from korseq.training.metrics import METRICS, of_steps


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models' main scores on the same texts.

    Attributes:
        score: What is compared, as `Scores.main` calls it.
        first, second: Of each model.
        difference: The second's less the first's.
        interval: Its 95% bootstrap interval: percentiles over 1,000 resamples of the texts.
        p: How likely a difference at least as far from none is if there is none (two-sided; at least 0.001, for there are no more
            resamples).
        higher_is_better: What a difference means.
        count: Texts.
    """

    score: str
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    p: float
    higher_is_better: bool
    count: int

    @property
    def verdict(self) -> Literal["better", "worse", "chance"]:
        """What the second is; "chance" if the difference may be none (p of 0.05 or more)."""
        if self.p >= 0.05:
            return "chance"
        return "better" if (self.difference > 0) == self.higher_is_better else "worse"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"interval": list(self.interval), "verdict": self.verdict}


def require_comparable(metric: str) -> None:
    """Raises:
    ConfigError: If nothing says of which sums over texts the main score of a metric is made.
    """
    if METRICS[metric].measure is None:
        raise ConfigError(
            f"two models cannot be compared by the metric '{metric}': nothing says of what sums over texts its main score is "
            "made; give it a measure (korseq.training.measures), or compare their answers elsewhere"
        )


def compared(metric: str, gold: Sequence[Any], first: Sequence[Any], second: Sequence[Any]) -> Comparison:
    """What two models answered to the same texts, compared by the main score of a metric of `METRICS`.

    Where answers are `Steps`, what is drawn are whole sequences of them.

    Raises:
        ConfigError: If the metric has no measure, or its score says something else of each model.
    """
    require_comparable(metric)
    measure = METRICS[metric].measure
    assert measure is not None
    if metric == "language_model" and any(
        (a.unit, a.tokens, a.unknown) != (b.unit, b.tokens, b.unknown) for a, b in zip(first, second, strict=True)
    ):
        raise ConfigError(
            "the two tell other tokens, or do not list the same, and perplexities of other tokens cannot be compared; give both "
            "the same tokenizer and vocabulary"
        )
    statistics = np.hstack([_statistics(measure, gold, answers) for answers in (first, second)])
    k = statistics.shape[1] // 2
    ours, theirs = (measure.of_sums(statistics[:, part].sum(axis=0)[None])[0] for part in (slice(k), slice(k, None)))
    sums = resampled(statistics)
    differences = measure.of_sums(sums[:, k:]) - measure.of_sums(sums[:, :k])
    low, high = np.quantile(differences, (0.025, 0.975)).tolist()
    beyond = min((differences <= 0).sum(), (differences >= 0).sum())
    main = of_steps(METRICS[metric]) if isinstance(first[0], Steps) else METRICS[metric]
    scores = main(gold, first)
    return Comparison(
        scores.main,
        float(ours),
        float(theirs),
        float(theirs - ours),
        (low, high),
        min(1.0, max(1, 2 * int(beyond)) / RESAMPLES) if np.isfinite(differences).all() else 1.0,
        scores.higher_is_better,
        len(gold),
    )


def _statistics(measure: Measure, gold: Sequence[Any], answers: Sequence[Any]) -> Numbers:
    """(N, k) of each text."""
    return np.array([_of_one(measure, g, a) for g, a in zip(gold, answers, strict=True)], dtype=np.float64)


def _of_one(measure: Measure, gold: Any, answer: Any) -> Sequence[float]:
    if not isinstance(answer, Steps):
        return measure.of_text(gold, answer)
    steps = [measure.of_text(g, a) for g, a in zip(gold, answer.steps, strict=True)]
    return [sum(column) for column in zip(*steps, strict=True)]
