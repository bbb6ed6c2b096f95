"""Two models on the same texts: the bootstrap, and what is compared by which score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from korseq.errors import ConfigError
from korseq.heads.classifier import Classification, MultiLabelClassification
from korseq.heads.each_step import Steps
from korseq.heads.language_model import Likelihood
from korseq.heads.regressor import Regression
from korseq.labels import LabelSet
from korseq.spans import LabeledSpan
from korseq.tagging import Entities, Entity, Word, Words
from korseq.training.bootstrap import RESAMPLES, resampled
from korseq.training.comparison import compared, require_comparable
from korseq.training.metrics import METRICS

LABELS = LabelSet(["가", "나", "다"])


def classes(labels: str) -> list[Classification]:
    return [Classification(label, 1.0, (), LABELS) for label in labels]


def test_resamples_vary_as_samples_do() -> None:
    values = np.random.default_rng(1).normal(3, 2, size=(400, 1))
    sums = resampled(values)
    assert sums.shape == (RESAMPLES, 1)
    assert sums.mean() / 400 == pytest.approx(values.mean(), abs=0.02)
    assert (sums / 400).std() == pytest.approx(values.std() / 20, rel=0.1)  # the standard error of a mean
    few = np.repeat([[1.0, 0.0], [0.0, 1.0]], 50, axis=0)
    assert (resampled(few).sum(axis=1) == 100).all()


def test_a_clear_difference_and_none() -> None:
    gold = "가나" * 200
    right, random = classes(gold), classes("".join(np.random.default_rng(0).choice(["가", "나"], 400)))
    better = compared("classification", gold, random, right)
    assert better.score == "accuracy"
    assert better.second == 1
    assert better.difference == better.second - better.first > 0.4
    assert better.interval[0] > 0.4
    assert better.interval[0] < better.difference < better.interval[1]
    assert better.p == pytest.approx(1 / RESAMPLES)
    assert compared("classification", gold, right, random).difference == -better.difference
    same = compared("classification", gold, random, random)
    assert (same.difference, same.interval, same.p) == (0, (0, 0), 1)


def test_the_interval_is_that_of_paired_proportions() -> None:
    """Of n texts, 60 that only the second gets right and 40 that only the first does: the variance of the difference is
    (b + c - (b - c)² / n) / n² (McNemar's setting)."""
    gold = "가" * 1000
    first, second = classes("나" * 60 + "가" * 940), classes("가" * 60 + "나" * 40 + "가" * 900)
    found = compared("classification", gold, first, second)
    deviation = np.sqrt(100 - 20**2 / 1000) / 1000
    assert found.difference == pytest.approx(0.02)
    assert found.interval == pytest.approx((0.02 - 1.96 * deviation, 0.02 + 1.96 * deviation), abs=0.004)
    assert found.p == pytest.approx(0.045, abs=0.03)  # of a normal distribution, z = 2.0


def entity(start: int, end: int, label: str) -> Entity:
    return Entity("가", label, start, end, 1.0, "")


def word(start: int, end: int, tag: str) -> Word:
    return Word("가", tag, start, end, 1.0, (), True)


SPANS = [(LabeledSpan(0, 1, "A"), LabeledSpan(2, 4, "B")), (LabeledSpan(1, 2, "A"),), ()]
ANSWERS: dict[str, tuple[list[Any], list[Any]]] = {
    "classification": (list("가나나"), classes("가가나")),
    "multi_label": (
        [("가",), ("가", "나"), ()],
        [MultiLabelClassification(labels, (), LABELS) for labels in (("가", "나"), ("가",), ("다",))],
    ),
    "regression": ([1.0, 2.0, 4.0], [Regression(value) for value in (1.5, 2.0, 3.0)]),
    "entities": (
        SPANS,
        [Entities("가" * 9, tuple(entity(*s) for s in spans)) for spans in (SPANS[0][:1], SPANS[1], SPANS[0])],
    ),
    "tags": (SPANS, [Words("가" * 9, tuple(word(*s) for s in spans)) for spans in (SPANS[0][:1], SPANS[0], SPANS[2])]),
    "language_model": (["", "", ""], [Likelihood(-log, n, 0) for log, n in ((4.0, 2), (9.0, 5), (1.0, 1))]),
}


@pytest.mark.parametrize("metric", ANSWERS)
def test_what_is_compared_is_the_main_score(metric: str) -> None:
    gold, answers = ANSWERS[metric]
    found = compared(metric, gold, answers, answers)
    scores = METRICS[metric](gold, answers)
    assert found.score == scores.main
    assert found.first == found.second == pytest.approx(scores[scores.main])
    assert found.as_dict()["interval"] == [0, 0]


def test_steps_are_drawn_by_whole_sequences() -> None:
    gold = [["가"] * 10, ["가"] * 10] * 20
    right, wrong = Steps(tuple(classes("가" * 10))), Steps(tuple(classes("나" * 10)))
    found = compared("classification", gold, [right, wrong] * 20, [right, right] * 20)
    assert (found.first, found.second, found.count) == (0.5, 1, 40)
    # Forty sequences, not four hundred steps: the standard error is sqrt(0.25 / 40) = 0.079.
    assert found.interval == pytest.approx((0.5 - 0.155, 0.5 + 0.155), abs=0.03)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="sacrebleu --paired-bs"):
        require_comparable("translation")
    ours, theirs = [Likelihood(-4.0, 2, 0, "morpheme")], [Likelihood(-4.0, 5, 0, "character")]
    with pytest.raises(ConfigError, match="perplexities of other tokens cannot be compared"):
        compared("language_model", [""], ours, theirs)


def test_what_is_better_depends_on_the_score() -> None:
    gold = [float(i % 7) for i in range(200)]
    near, far = ([Regression(g + error) for g in gold] for error in (0.1, 2.0))
    assert compared("regression", gold, near, far).verdict == "worse"
    assert compared("regression", gold, far, near).verdict == "better"
    diverged = compared("regression", gold, near, [Regression(float("nan"))] * 200)
    assert (diverged.p, diverged.verdict) == (1, "chance")
