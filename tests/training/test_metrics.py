"""Metrics against scikit-learn and scipy, on random answers and in the corners."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import sacrebleu
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.preprocessing import MultiLabelBinarizer

from korseq.generation import Generated
from korseq.heads import Classification, Likelihood, MultiLabelClassification, Regression, Steps
from korseq.labels import LabelSet
from korseq.registry import components
from korseq.spans import LabeledSpan
from korseq.tagging import Entities, Entity, Word, Words
from korseq.training.metrics import METRICS, classification, multi_label, of_steps, regression
from korseq.training.scores import Scores

LABELS = LabelSet(["가", "나", "다", "라"])


def answers(labels: list[str]) -> list[Classification]:
    return [Classification(label, 1.0, (), LABELS) for label in labels]


def several(labels: list[Any]) -> list[MultiLabelClassification]:
    return [MultiLabelClassification(tuple(row), (), LABELS) for row in labels]


def numbers(values: Any) -> list[Regression]:
    return [Regression(float(value)) for value in values]


# Classification --------------------------------------------------------------------------------------------------------

one_label = st.sampled_from(LABELS.labels)


@pytest.mark.filterwarnings("ignore:A single label was found")
@unhurried
@given(st.lists(st.tuples(one_label, one_label), min_size=1, max_size=40))
def test_classification_equals_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = map(list, zip(*pairs, strict=True))
    scores = classification(gold, answers(predicted))
    labels = sorted({*gold, *predicted})
    report = sklearn_metrics.classification_report(gold, predicted, labels=labels, output_dict=True, zero_division=0)
    assert scores["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(gold, predicted))
    assert scores["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert scores["count"] == len(gold)
    assert list(scores["labels"]) == labels
    for label, found in scores["labels"].items():
        expected = report[label]
        wanted = [expected["precision"], expected["recall"], expected["f1-score"], expected["support"]]
        assert [found["precision"], found["recall"], found["f1"], found["support"]] == pytest.approx(wanted)
    confusion = sklearn_metrics.confusion_matrix(gold, predicted, labels=labels)
    assert [[scores["confusion"][g][a] for a in labels] for g in labels] == confusion.tolist()


@pytest.mark.parametrize(
    ("gold", "predicted", "accuracy", "macro_f1"),
    [
        (["가"], ["가"], 1.0, 1.0),
        (["가"], ["나"], 0.0, 0.0),
        (["가", "가", "나"], ["가", "가", "가"], 2 / 3, 0.4),
        (["가", "가"], ["가", "다"], 0.5, (2 / 3 + 0) / 2),  # an answer that the data never has counts as a label
    ],
)
def test_classification_in_the_corners(gold: list[str], predicted: list[str], accuracy: float, macro_f1: float) -> None:
    scores = classification(gold, answers(predicted))
    assert scores["accuracy"] == pytest.approx(accuracy)
    assert scores["macro_f1"] == pytest.approx(macro_f1)


# Several labels --------------------------------------------------------------------------------------------------------

label_sets = st.sets(one_label)


@unhurried
@given(
    st.lists(st.tuples(label_sets, label_sets), min_size=1, max_size=30).filter(lambda ps: any(g | a for g, a in ps))
)
def test_multi_label_equals_scikit_learn(pairs: list[tuple[set[str], set[str]]]) -> None:
    gold, predicted = zip(*pairs, strict=True)
    scores = multi_label([tuple(g) for g in gold], several(list(predicted)))
    present = sorted(set().union(*gold, *predicted))
    binarizer, places = MultiLabelBinarizer(classes=LABELS.labels), [LABELS.index(label) for label in present]
    truth, found = binarizer.fit_transform(gold), binarizer.transform(predicted)
    for average in ("micro", "macro"):
        expected = sklearn_metrics.f1_score(truth, found, labels=places, average=average, zero_division=0)
        assert scores[f"{average}_f1"] == pytest.approx(expected)
    assert scores["exact_match"] == pytest.approx(sklearn_metrics.accuracy_score(truth, found))
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        truth, found, labels=places, zero_division=0
    )
    for i, label in enumerate(present):
        wanted = {"precision": precision[i], "recall": recall[i], "f1": f1[i], "support": support[i]}
        assert scores["labels"][label] == pytest.approx(wanted)


def test_multi_label_where_no_text_has_any() -> None:
    scores = multi_label([(), ()], several([(), ()]))
    assert scores["micro_f1"] == scores["macro_f1"] == 0.0
    assert scores["exact_match"] == 1.0
    assert scores["labels"] == {}


def test_a_label_given_twice_counts_once() -> None:
    assert multi_label([("가", "가")], several([("가",)]))["micro_f1"] == 1.0


# Numbers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", range(5))
def test_regression_equals_scipy_and_scikit_learn(seed: int, ties: bool) -> None:
    random = np.random.default_rng(seed)
    gold, found = random.normal(3, 10, 50), random.normal(3, 10, 50)
    if ties:
        gold, found = gold.round(-1), found.round(-1)
    scores = regression(gold.tolist(), numbers(found))
    assert scores["mse"] == pytest.approx(sklearn_metrics.mean_squared_error(gold, found))
    assert scores["mae"] == pytest.approx(sklearn_metrics.mean_absolute_error(gold, found))
    assert scores["pearson"] == pytest.approx(stats.pearsonr(gold, found).statistic)
    assert scores["spearman"] == pytest.approx(stats.spearmanr(gold, found).statistic)
    assert scores["count"] == 50


@pytest.mark.parametrize(
    ("gold", "found"),
    [([1.0], [2.0]), ([1.0, 2.0], [5.0, 5.0]), ([0.1] * 3, [1.0, 2.0, 3.0]), ([0.1] * 3, [0.7] * 3)],
)
def test_what_does_not_vary_correlates_with_nothing(gold: list[float], found: list[float]) -> None:
    """Three times 0.1 has, as floating point goes, a standard deviation above zero."""
    scores = regression(gold, numbers(found))
    assert scores["pearson"] == scores["spearman"] == 0.0


def test_perfect_order_is_a_rank_correlation_of_one() -> None:
    scores = regression([1.0, 2.0, 3.0, 10.0], numbers([1.0, 10.0, 100.0, 1e6]))
    assert scores["spearman"] == pytest.approx(1.0)
    assert scores["pearson"] < 1.0
    assert regression([1.0, 2.0], numbers([9.0, 3.0]))["spearman"] == pytest.approx(-1.0)


# All of them -----------------------------------------------------------------------------------------------------------

EXAMPLES: dict[str, tuple[list[Any], list[Any]]] = {
    "classification": (["가", "나"], answers(["가", "가"])),
    "multi_label": ([("가",), ()], several([("가", "나"), ()])),
    "regression": ([1.0, 2.0], numbers([1.5, 2.5])),
    "entities": (
        [[LabeledSpan(0, 2, "가")], [LabeledSpan(0, 1, "나")]],
        [Entities("서울에서", (Entity("서울", "가", 0, 2, 0.9, "에서"),)), Entities("새로", ())],
    ),
    "tags": (
        [[LabeledSpan(0, 2, "가")], [LabeledSpan(0, 1, "나")]],
        [
            Words("서울에서", (Word("서울", "가", 0, 2, 0.9, (), True),)),
            Words("새로", (Word("새", "가", 0, 1, 0.9, (), True),)),
        ],
    ),
    "language_model": (["", ""], [Likelihood(-6.0, 3, 0, "morpheme"), Likelihood(-4.0, 2, 1, "morpheme")]),
    "translation": (
        ["나는 학교에 갔다.", "비가 온다."],
        [Generated("나는 학교에 갔다.", 0.9, -0.5), Generated("눈이 온다.", 0.5, -2.0)],
    ),
}


@pytest.mark.parametrize("name", METRICS)
def test_scores_are_ready_for_json_and_have_their_main_value(name: str) -> None:
    scores = METRICS[name](*EXAMPLES[name])
    assert json.loads(json.dumps(scores.values, allow_nan=False)) == scores.values
    assert isinstance(scores[scores.main], float)
    assert scores["count"] == 2


@pytest.mark.parametrize("name", METRICS)
def test_answers_must_be_as_many_as_the_data(name: str) -> None:
    gold, predictions = EXAMPLES[name]
    with pytest.raises(ValueError, match=r"zip|broadcast|shape|length"):
        METRICS[name](gold, predictions[:1] * 3)


def test_steps_are_scored_all_together() -> None:
    gold, found = [("가", "나"), ("나",)], [Steps(tuple(answers(labels))) for labels in ("가가", "나")]
    assert of_steps(classification)(gold, found) == classification(["가", "나", "나"], answers("가가나"))
    with pytest.raises(ValueError, match="zip"):
        of_steps(classification)([("가",), ("나", "나")], found)  # as many in all, but not in each


def test_every_head_has_its_metric() -> None:
    assert {cls().metric for cls in components("head").values()} <= METRICS.keys()


@pytest.mark.parametrize(
    ("higher_is_better", "value", "other", "better"),
    [
        (True, 0.5, None, True),
        (True, 0.5, 0.4, True),
        (True, 0.5, 0.5, False),
        (False, 0.5, 0.4, False),
        (False, 0.5, 0.6, True),
        (False, math.nan, None, True),  # better than nothing
        (False, math.nan, 0.6, False),
        (False, 0.6, math.nan, True),
        (True, 0.6, math.nan, True),
        (True, math.nan, math.nan, False),
    ],
)
def test_scores_compare_in_their_direction(
    higher_is_better: bool, value: float, other: float | None, better: bool
) -> None:
    assert Scores({"x": value}, "x", higher_is_better).better_than(other) is better


# Translation -----------------------------------------------------------------------------------------------------------


def test_translation_scores_are_those_of_sacrebleu() -> None:
    gold, predicted = EXAMPLES["translation"]
    scores = METRICS["translation"](gold, predicted)
    outputs = [p.output for p in predicted]
    assert scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(outputs, [gold]).score)
    assert scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(outputs, [gold]).score)
    assert scores["exact_match"] == 0.5
    assert "tok:13a" in scores["signatures"]["bleu"]
    assert "nc:6" in scores["signatures"]["chrf"]


def test_perplexity_is_of_all_tokens_together() -> None:
    scores = METRICS["language_model"](*EXAMPLES["language_model"])
    assert scores["perplexity"] == pytest.approx(math.exp(10 / 5))
    assert (scores["unit"], scores["tokens"], scores["unknown"]) == ("morpheme", 5, 0.2)
    assert not scores.higher_is_better
