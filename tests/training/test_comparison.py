"""Two models on the same texts: the bootstrap, and what is compared by which score."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import EXAMPLES
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF
from typer.testing import CliRunner

from korseq import Pipeline, Training
from korseq.cli import app
from korseq.errors import ConfigError
from korseq.generation import Generated
from korseq.heads import Classifier
from korseq.heads.classifier import Classification, MultiLabelClassification
from korseq.heads.each_step import Steps
from korseq.heads.language_model import Likelihood
from korseq.heads.regressor import Regression
from korseq.labels import LabelSet
from korseq.nn import Dense, Embedding
from korseq.spans import LabeledSpan
from korseq.tagging import Entities, Entity, Word, Words
from korseq.text import WhitespaceTokenizer
from korseq.training import measures
from korseq.training.bootstrap import RESAMPLES, resampled
from korseq.training.comparison import compared, require_comparable
from korseq.training.metrics import METRICS, Metric

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


def written(*texts: str) -> list[Generated]:
    return [Generated(text, 1.0, 0.0) for text in texts]


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
    "translation": (["나는 학교에 갔다.", "비가 온다.", "😀"], written("나는 학교로 갔어.", "비가 온다.", "")),
    "language_model": (["", "", ""], [Likelihood(-log, n, 0) for log, n in ((4.0, 2), (9.0, 5), (1.0, 1))]),
}


def test_all_that_heads_predict_can_be_compared() -> None:
    assert ANSWERS.keys() == METRICS.keys()


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


Texts = Sequence[tuple[str, str]]


def chrf_of(texts: Texts) -> tuple[float, float]:
    """Of (what was to be written, what was): ours, of the sums over all texts, and sacrebleu's."""
    gold, outputs = zip(*texts, strict=True)
    sums = np.sum([measures.CHRF.of_text(*pair) for pair in zip(gold, written(*outputs), strict=True)], axis=0)
    return measures.CHRF.of_sums(sums[None].astype(float))[0], CHRF().corpus_score(outputs, [gold]).score


TRANSLATED = [
    ("나는 어제 학교에 갔다.", "나는 어제 학교에 갔어요."),
    ("The cat sat on the mat.", "A cat sat on the  mat ."),
    ("비가 온다.", ""),
    ("네", "네, 알겠습니다."),  # of which no n-gram of two and more counts as written
    ("👍🏽 좋아요 👨‍👩‍👧", "👍 좋아요 👨‍👩‍👧‍👦\u3000!"),
    ("", "아무것도"),
    (" \t", "\n"),
    ("가나다", "가나다"),
]


@pytest.mark.parametrize(
    "texts",
    [
        TRANSLATED,
        TRANSLATED[:3],
        *([pair] for pair in TRANSLATED),
        [("가나", "가다"), ("a", "abcdefg")],
        [("가", "")] * 3,
    ],
    ids=str,
)
def test_the_score_of_sums_is_sacrebleus_chrf(texts: Texts) -> None:
    ours, theirs = chrf_of(texts)
    assert ours == pytest.approx(theirs, abs=1e-9)


@unhurried
@given(st.lists(st.tuples(*[st.text("가나다ab. 😀\u1112\u1161", max_size=9)] * 2), min_size=1, max_size=6))
def test_the_score_of_any_sums_is_sacrebleus_chrf(texts: Texts) -> None:
    ours, theirs = chrf_of(texts)
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_a_translator_is_better_or_only_happened_to_be() -> None:
    gold = [f"{i}번 버스는 {i + 3}시에 서울역에서 떠납니다." for i in range(60)]
    poor = written(*(text.replace("서울역", "부산").replace("떠납", "옵") for text in gold))
    once = written(gold[0], *(answer.output for answer in poor[1:]))
    better = compared("translation", gold, poor, written(*gold))
    assert (better.score, better.second, better.verdict, better.count) == ("chrf", pytest.approx(100), "better", 60)
    assert better.first == pytest.approx(CHRF().corpus_score([a.output for a in poor], [gold]).score)
    assert better.interval[0] < better.difference < better.interval[1]
    assert compared("translation", gold, written(*gold), poor).verdict == "worse"
    assert compared("translation", gold, poor, once).verdict == "chance"


def test_what_cannot_be_compared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "one of a plug-in", Metric(METRICS["classification"].score))
    with pytest.raises(ConfigError, match="cannot be compared by the metric 'one of a plug-in': nothing says"):
        require_comparable("one of a plug-in")
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


# The command line ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that knows the examples by heart, one that has learnt the contrary, and 40 texts."""
    folder = tmp_path_factory.mktemp("runs")
    other = {"긍정": "부정", "부정": "긍정"}
    taught = {"right": EXAMPLES, "wrong": [(text, other[label]) for text, label in EXAMPLES]}
    for name, examples in taught.items():
        made = Pipeline(
            tokenizer=WhitespaceTokenizer(),
            embedding=Embedding(8, feature="form", min_count=1),
            encoder=Dense(8),
            head=Classifier(),
            device="cpu",
        )
        training = Training(epochs=10, batch_size=4, learning_rate=0.05, precision="fp32")
        made.fit(examples, examples, training=training, progress=False)
        assert made.evaluate(examples)["accuracy"] == 1
        made.save(folder / name)
    rows = [("text", "label"), *EXAMPLES * 5]
    (folder / "test.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("first", "second", "difference", "p", "said", "verdict"),
    [
        ("wrong", "right", "+1.0000", "p ≤ 0.001", "the second is better", "better"),
        ("right", "wrong", "-1.0000", "p ≤ 0.001", "the second is worse", "worse"),
        ("right", "right", "+0.0000", "p = 1.000", "this may be chance", "chance"),
    ],
)
def test_the_command_says_what_the_second_is(
    runs: Path, first: str, second: str, difference: str, p: str, said: str, verdict: str
) -> None:
    command = ["compare", *(str(runs / name) for name in (first, second, "test.tsv"))]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    scores, differs, conclusion = result.stdout.splitlines()
    assert f"({runs / first})" in scores
    assert "over 40 texts" in scores
    assert differs.startswith(f"difference: {difference}, 95% interval {difference} to {difference}, {p}")
    assert conclusion == said
    found = json.loads(CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False).stdout)
    assert (found["verdict"], f"{found['difference']:+.4f}") == (verdict, difference)


def test_the_perplexity_of_a_diverged_model_is_infinite_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measures.PERPLEXITY.of_sums(np.array([[1e6, 10.0]])).tolist() == [float("inf")]
