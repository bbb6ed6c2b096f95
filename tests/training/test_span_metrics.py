"""Scores of taggers against seqeval, scikit-learn and scipy, on random answers, by hand, and in the corners."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from sklearn import metrics as sklearn_metrics

from korseq.spans import LabeledSpan, to_tags
from korseq.tagging import Entities, Entity, Word, Words
from korseq.training.span_metrics import entities, tags

Spans = list[LabeledSpan]


def span(start: int, end: int, label: str) -> LabeledSpan:
    return LabeledSpan(start, end, label)


TEXT = "가나 " * 70


def answer(spans: Spans, text: str = TEXT) -> Entities:
    return Entities(text, tuple(Entity("…", s.label, s.start, s.end, 1.0, "") for s in spans))


def answers(texts: list[Spans]) -> list[Entities]:
    return [answer(spans) for spans in texts]


@st.composite
def spans_of_a_text(draw: Any) -> Spans:
    """Without overlap, as tags spell them; some touch."""
    spans, place = [], 0
    for gap, length, label in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from("가나다")), max_size=5)
    ):
        spans.append(span(place + gap, place + gap + length, label))
        place += gap + length
    return spans


# Gold and predicted spans of some texts. Some texts have the same spans on both sides, which would seldom come by chance.
texts_of_spans = st.lists(
    st.tuples(spans_of_a_text(), spans_of_a_text(), st.booleans()).map(lambda t: (t[0], t[0] if t[2] else t[1])),
    min_size=1,
    max_size=6,
)


def characters(texts: list[Spans], lengths: list[int]) -> list[list[str]]:
    return [to_tags(spans, length) for spans, length in zip(texts, lengths, strict=True)]


def sides(pairs: list[tuple[Spans, Spans]]) -> tuple[list[Spans], list[Spans], list[int]]:
    """Gold, predictions, and lengths for which every text has a character after its last span."""
    gold, found = (list(side) for side in zip(*pairs, strict=True))
    return gold, found, [1 + max((s.end for s in g + f), default=0) for g, f in pairs]


# Entities: F1 ----------------------------------------------------------------------------------------------------------

NUMBERS = {"precision": "precision", "recall": "recall", "f1": "f1-score", "support": "support"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@unhurried
@given(texts_of_spans.filter(lambda pairs: any(g or f for g, f in pairs)))
def test_entities_equal_seqeval(pairs: list[tuple[Spans, Spans]]) -> None:
    gold, found, lengths = sides(pairs)
    scores = entities(gold, answers(found))
    report: Any = classification_report(
        characters(gold, lengths), characters(found, lengths), output_dict=True, mode="strict", scheme=IOB2
    )
    micro, macro = report.pop("micro avg"), report.pop("macro avg")
    del report["weighted avg"]
    for name, theirs in NUMBERS.items():
        assert scores[name] == pytest.approx(micro[theirs], abs=1e-12)
    assert scores["macro_f1"] == pytest.approx(macro["f1-score"], abs=1e-12)
    assert scores["labels"].keys() == report.keys()
    for label, values in scores["labels"].items():
        assert values == pytest.approx({name: report[label][theirs] for name, theirs in NUMBERS.items()}, abs=1e-12)


@unhurried
@given(texts_of_spans)
def test_character_f1_equals_scikit_learn(pairs: list[tuple[Spans, Spans]]) -> None:
    gold, found = (list(side) for side in zip(*pairs, strict=True))
    truth, guess = (
        [tag for spans in texts for tag, c in zip(to_tags(spans, len(TEXT)), TEXT, strict=True) if c != " "]
        for texts in (gold, found)
    )
    expected = sklearn_metrics.f1_score(truth, guess, labels=sorted({*truth, *guess}), average="macro")
    assert entities(gold, answers(found))["character_f1"] == pytest.approx(expected, abs=1e-12)


def test_entities_by_hand() -> None:
    gold = [
        [span(0, 3, "인물"), span(5, 7, "장소")],
        [span(2, 4, "인물"), span(6, 9, "기관")],
        [],
    ]
    found = [
        [span(0, 3, "인물"), span(5, 7, "기관")],  # the second has the wrong type
        [span(2, 5, "인물")],  # too long; and the second is missing
        [span(1, 2, "장소")],  # of nothing
    ]
    scores = entities(gold, [answer(spans, "가" * 9) for spans in found])
    assert scores.main == "f1"
    assert [scores["precision"], scores["recall"], scores["f1"]] == [1 / 4, 1 / 4, 2 / 8]
    assert scores["macro_f1"] == pytest.approx((2 / 4 + 0 + 0) / 3)
    # Tags: B-인물 2 of 2; I-인물 3 of 3, one too many; B-장소 and B-기관 never right, I-장소 and I-기관 neither; O 15
    # of 17, 18 predicted.
    assert scores["character_f1"] == pytest.approx((1 + 6 / 7 + 0 + 0 + 0 + 0 + 30 / 35) / 7)
    assert (scores["count"], scores["support"]) == (3, 4)
    assert scores["labels"] == {
        "기관": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
        "인물": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
        "장소": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }
    assert scores["confusion"] == {"인물": {"인물": 1}, "장소": {"기관": 1}}
    assert scores["errors"] == {"missed": 1, "spurious": 1, "type": 1, "boundary": 1, "both": 0}


@pytest.mark.parametrize(
    ("gold", "found"),
    [([[]], [[]]), ([[], []], [[], []]), ([[span(0, 2, "가")]], [[]]), ([[]], [[span(0, 2, "가")]])],
    ids=["nothing anywhere", "nothing in two texts", "nothing predicted", "nothing there"],
)
def test_where_nothing_can_be_right(gold: list[Spans], found: list[Spans]) -> None:
    scores = entities(gold, answers(found))
    for name in ("precision", "recall", "f1", "macro_f1"):
        assert scores[name] == 0.0
    assert scores["f1_interval"] == [0.0, 0.0]
    assert scores["support"] == len(gold[0])
    assert scores["confusion"] == {}
    assert scores["errors"] == {"missed": len(gold[0]), "spurious": len(found[0]), "type": 0, "boundary": 0, "both": 0}
    assert list(scores["labels"]) == (["가"] if gold[0] or found[0] else [])


def test_an_entity_belongs_to_its_text() -> None:
    assert entities([[span(0, 2, "가")], []], answers([[], [span(0, 2, "가")]])).values["f1"] == 0.0


def test_entities_may_overlap_and_be_given_twice() -> None:
    """As those of token units may, where two tokens have the same character (갔)."""
    gold = [[span(5, 6, "가")]]
    scores = entities(gold, answers([[span(4, 6, "나"), span(5, 6, "가"), span(5, 6, "가")]]))
    assert (scores["precision"], scores["recall"]) == (1 / 2, 1.0)
    assert scores["errors"]["spurious"] == 1
    assert sum(scores["errors"].values()) == 1


# Entities: errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "found", "errors"),
    [
        ([span(2, 5, "가")], [span(2, 5, "가")], {}),
        ([span(2, 5, "가")], [span(2, 5, "나")], {"type": 1}),
        ([span(2, 5, "가")], [span(2, 6, "가")], {"boundary": 1}),
        ([span(2, 5, "가")], [span(4, 9, "가")], {"boundary": 1}),
        ([span(2, 5, "가")], [span(3, 4, "나")], {"both": 1}),
        ([span(2, 5, "가")], [span(5, 6, "가")], {"missed": 1, "spurious": 1}),  # they touch, they do not overlap
        # One for two, and two for one: a partner, and one without.
        ([span(0, 2, "가"), span(2, 5, "가")], [span(0, 5, "가")], {"boundary": 1, "missed": 1}),
        ([span(0, 5, "가")], [span(0, 2, "가"), span(2, 5, "가")], {"boundary": 1, "spurious": 1}),
        # The right type goes before the leftmost place.
        ([span(0, 2, "나"), span(2, 5, "가")], [span(0, 5, "가")], {"boundary": 1, "missed": 1}),
        ([span(0, 5, "가")], [span(0, 2, "나"), span(2, 5, "나")], {"both": 1, "spurious": 1}),
        # What is right has no partners to give.
        ([span(0, 2, "가"), span(3, 5, "가")], [span(0, 2, "가")], {"missed": 1}),
        # A chain: every one overlaps the next one of the other side.
        (
            [span(0, 4, "가"), span(6, 10, "가")],
            [span(3, 7, "가"), span(9, 12, "가")],
            {"boundary": 2},
        ),
        ([span(0, 4, "나"), span(6, 10, "가")], [span(3, 7, "가")], {"boundary": 1, "missed": 1}),
    ],
)
def test_kinds_of_errors(gold: Spans, found: Spans, errors: dict[str, int]) -> None:
    scores = entities([gold], [answer(found)])
    assert {kind: count for kind, count in scores["errors"].items() if count} == errors


@unhurried
@given(texts_of_spans)
def test_every_entity_is_right_or_one_error(pairs: list[tuple[Spans, Spans]]) -> None:
    gold, found, _ = sides(pairs)
    scores = entities(gold, answers(found))
    errors, right = scores["errors"], sum(len({*g} & {*f}) for g, f in pairs)
    paired = errors["type"] + errors["boundary"] + errors["both"]
    assert right + paired + errors["missed"] == sum(map(len, gold)) == scores["support"]
    assert right + paired + errors["spurious"] == sum(map(len, found))
    same = Counter((a.label, b.label) for g, f in pairs for a in g for b in f if a[:2] == b[:2])
    assert {(a, b): n for a, row in scores["confusion"].items() for b, n in row.items()} == same
    assert errors["type"] == sum(n for (a, b), n in same.items() if a != b)


@unhurried
@given(spans_of_a_text().filter(len), spans_of_a_text().filter(len))
def test_as_many_boundary_errors_as_can_be(gold: Spans, found: Spans) -> None:
    """None of them is taken for a missed entity and a spurious one."""
    fit = [[a != b and a.label == b.label and a.start < b.end and b.start < a.end for b in found] for a in gold]
    expected = (maximum_bipartite_matching(csr_array(np.array(fit))) >= 0).sum()
    assert entities([gold], [answer(found)])["errors"]["boundary"] == expected


@unhurried
@given(texts_of_spans, st.randoms(use_true_random=False))
def test_the_order_of_entities_and_texts_changes_nothing(pairs: list[tuple[Spans, Spans]], random: Any) -> None:
    mixed = [(random.sample(g, len(g)), random.sample(f, len(f))) for g, f in pairs]
    random.shuffle(mixed)
    one, other = (entities([g for g, _ in some], answers([f for _, f in some])) for some in (pairs, mixed))
    assert one == other


def test_a_text_with_very_many_wrong_entities_takes_linear_time() -> None:
    count = 20_000
    gold = [span(10 * i, 10 * i + 4, "가나"[i % 2]) for i in range(count)]
    found = [span(10 * i + 2, 10 * i + 6, "가") for i in range(count)]
    began = time.process_time()
    scores = entities([gold], [answer(found, "가" * 10 * count)])
    assert time.process_time() - began < 10  # comparing all with all would take minutes
    assert scores["errors"] == {"missed": 0, "spurious": 0, "type": 0, "boundary": count // 2, "both": count // 2}


# Entities: the interval ------------------------------------------------------------------------------------------------


def corpus(seed: int, texts: int) -> tuple[list[Spans], list[Spans]]:
    """About three quarters of the entities are right."""
    random = np.random.default_rng(seed)
    gold: list[Spans] = []
    found: list[Spans] = []
    for _ in range(texts):
        gold.append([span(10 * i, 10 * i + 3, "가") for i in range(random.integers(0, 4))])
        found.append([s._replace(end=s.end + int(random.random() < 0.25)) for s in gold[-1]])
    return gold, found


@pytest.mark.parametrize("texts", [1, 2, 10, 300])
@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_around_f1_and_always_the_same(seed: int, texts: int) -> None:
    gold, found = corpus(seed, texts)
    scores = entities(gold, answers(found))
    low, high = scores["f1_interval"]
    assert 0 <= low <= scores["f1"] <= high <= 1
    assert entities(gold, answers(found))["f1_interval"] == [low, high]


def test_the_interval_equals_that_of_resampled_texts() -> None:
    gold, found = corpus(0, 200)
    random = np.random.default_rng(1)
    resampled = []
    for _ in range(2000):
        chosen = random.integers(0, 200, 200)
        right = sum(len({*gold[i]} & {*found[i]}) for i in chosen)
        resampled.append(2 * right / sum(len(gold[i]) + len(found[i]) for i in chosen))
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert entities(gold, answers(found))["f1_interval"] == pytest.approx([low, high], abs=0.005)
    assert high - low > 0.05


def test_more_texts_make_the_interval_narrower() -> None:
    few, many = (entities(g, answers(f))["f1_interval"] for g, f in (corpus(0, 50), corpus(0, 5000)))
    assert many[1] - many[0] < (few[1] - few[0]) / 5


# Tags ------------------------------------------------------------------------------------------------------------------


def word(start: int, end: int, tag: str, known: bool = True) -> Word:
    return Word("…", tag, start, end, 1.0, (), known)


one_tag = st.sampled_from(["NOUN", "VERB", "ADV", "X"])
some_words = st.lists(st.tuples(one_tag, one_tag, st.booleans()), max_size=8)


@pytest.mark.filterwarnings("ignore:A single label was found")
@unhurried
@given(st.lists(some_words, min_size=1, max_size=5).filter(any))
def test_tags_equal_scikit_learn(texts: list[list[tuple[str, str, bool]]]) -> None:
    gold = [[span(2 * i, 2 * i + 1, g) for i, (g, _, _) in enumerate(text)] for text in texts]
    found = [Words("", tuple(word(2 * i, 2 * i + 1, a, k) for i, (_, a, k) in enumerate(text))) for text in texts]
    scores = tags(gold, found)
    triples = [triple for text in texts for triple in text]
    truth, guess = [g for g, _, _ in triples], [a for _, a, _ in triples]
    occur = sorted({*truth, *guess})
    report: Any = sklearn_metrics.classification_report(truth, guess, labels=occur, output_dict=True, zero_division=0)
    assert scores["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(truth, guess))
    assert scores["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert list(scores["labels"]) == occur
    for label, values in scores["labels"].items():
        assert values == pytest.approx({name: report[label][theirs] for name, theirs in NUMBERS.items()})
    wrong = Counter((g, a) for g, a, _ in triples if g != a)
    assert {(g, a): n for g, row in scores["confusion"].items() for a, n in row.items()} == wrong
    for name, known in (("known", True), ("unknown", False)):
        hits = [g == a for g, a, k in triples if k == known]
        assert scores[name] == len(hits)
        assert scores[f"{name}_accuracy"] == (pytest.approx(np.mean(hits)) if hits else None)
    assert (scores["count"], scores["words"], scores["unaligned"]) == (len(texts), len(triples), 0)


def test_tags_by_hand_where_the_words_differ() -> None:
    gold = [
        [span(0, 2, "NOUN"), span(3, 5, "VERB"), span(5, 6, "PUNCT")],
        [span(0, 3, "NOUN"), span(4, 6, "ADV")],
    ]
    found = [
        Words("", (word(0, 2, "NOUN"), word(3, 6, "NOUN"))),  # the second takes the punctuation mark along
        Words("", (word(0, 3, "ADV", known=False), word(4, 6, "ADV", known=False))),
    ]
    scores = tags(gold, found)
    assert scores.main == "accuracy"
    assert scores["accuracy"] == 2 / 5
    assert (scores["count"], scores["words"], scores["unaligned"]) == (2, 5, 2)
    assert (scores["known"], scores["known_accuracy"]) == (1, 1.0)
    assert (scores["unknown"], scores["unknown_accuracy"]) == (2, 0.5)
    assert scores["labels"] == {
        "ADV": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
        "NOUN": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
        "PUNCT": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
        "VERB": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1},
    }
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 1 / 2 + 0 + 0) / 4)
    assert scores["confusion"] == {"NOUN": {"ADV": 1}}


def test_words_that_are_not_predicted_are_wrong() -> None:
    scores = tags([[span(0, 2, "NOUN")], []], [Words("", ()), Words("", ())])
    assert (scores["accuracy"], scores["words"], scores["unaligned"]) == (0.0, 1, 1)
    assert scores["known_accuracy"] is scores["unknown_accuracy"] is None


def test_texts_without_words() -> None:
    scores = tags([[]], [Words("", ())])
    assert (scores["accuracy"], scores["macro_f1"], scores["words"], scores["count"]) == (0.0, 0.0, 0, 1)
    assert scores["labels"] == scores["confusion"] == {}
