"""Stratified splits: every example once, every label in proportion, the same on every machine."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.data.splits import grouped_split, stratified_split
from korseq.errors import DataError

LABELS = ["긍정"] * 60 + ["부정"] * 30 + ["중립"] * 10


def test_every_label_gives_its_share() -> None:
    _, smaller = stratified_split(LABELS, 0.1, seed=0)
    assert Counter(LABELS[i] for i in smaller) == {"긍정": 6, "부정": 3, "중립": 1}


def test_a_seed_chooses_the_split() -> None:
    assert stratified_split(LABELS, 0.1, seed=3) == stratified_split(LABELS, 0.1, seed=3)
    assert stratified_split(LABELS, 0.1, seed=3) != stratified_split(LABELS, 0.1, seed=4)


def test_a_label_with_one_example_stays_in_the_larger_part() -> None:
    larger, _ = stratified_split([*LABELS, "드묾"], 0.9, seed=0)
    assert len(LABELS) in larger


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_two_different_examples_are_parted(fraction: float) -> None:
    larger, smaller = stratified_split(["긍정", "부정"], fraction, seed=0)
    assert (len(larger), len(smaller)) == (1, 1)


def test_numbers_are_split_without_regard_to_labels() -> None:
    larger, smaller = stratified_split([i / 7 for i in range(100)], 0.2, seed=0)
    assert (len(larger), len(smaller)) == (80, 20)


def test_rare_labels_give_together() -> None:
    labels = [*LABELS, *(f"드문 {i // 4}" for i in range(40)), "하나"]
    larger, smaller = stratified_split(labels, 0.1, seed=0)
    assert len(smaller) == 14
    assert {labels[i] for i in larger} == set(labels)
    common = set(range(len(LABELS)))
    assert common & set(smaller) == set(stratified_split(LABELS, 0.1, seed=0)[1])


def test_of_several_labels_each_keeps_an_example() -> None:
    """Combinations that only one example has can be given, labels that only one has cannot."""
    combinations = [(f"가{i % 30}", f"나{i % 32}") for i in range(480)]
    labels = [("같음",)] * 20 + combinations + [("하나", "가0")]
    larger, smaller = stratified_split(labels, 0.1, seed=0)
    assert len(smaller) == 50
    assert {name for i in larger for name in labels[i]} == {name for several in labels for name in several}
    assert len(labels) - 1 in larger


@pytest.mark.parametrize("labels", [[], ["긍정"]])
def test_fewer_than_two_examples_are_refused(labels: list[str]) -> None:
    with pytest.raises(DataError, match="cannot be split"):
        stratified_split(labels, 0.1, seed=0)


@given(st.lists(st.sampled_from("가나다라"), min_size=2), st.floats(0.01, 0.99), st.integers(0, 99))
def test_parts_are_a_partition_that_keeps_order_and_labels(labels: list[str], fraction: float, seed: int) -> None:
    larger, smaller = stratified_split(labels, fraction, seed)
    assert sorted(larger + smaller) == list(range(len(labels)))
    assert larger == sorted(larger)
    assert smaller == sorted(smaller)
    assert larger
    assert smaller
    if max(Counter(labels).values()) * fraction >= 1:  # else the split is without regard to labels
        of_rare, due = 0, 0.0
        for label, count in Counter(labels).items():
            given_away = sum(labels[i] == label for i in smaller)
            assert given_away < count
            if min(round(count * fraction), count - 1):
                assert abs(given_away - min(count * fraction, count - 1)) <= 0.5
            else:
                of_rare, due = of_rare + given_away, due + count * fraction
        assert of_rare <= due + 0.5


@given(st.lists(st.sampled_from("가나다라마바사아"), min_size=2), st.floats(0.01, 0.99), st.integers(0, 99))
def test_groups_stay_together(groups: list[str], fraction: float, seed: int) -> None:
    if len(set(groups)) < 2:
        with pytest.raises(DataError, match="cannot be split"):
            grouped_split([""] * len(groups), groups, fraction, seed)
        return
    larger, smaller = grouped_split([""] * len(groups), groups, fraction, seed)
    assert sorted(larger + smaller) == list(range(len(groups)))
    assert (larger, smaller) == (sorted(larger), sorted(smaller))
    assert larger
    assert smaller
    assert not {groups[i] for i in larger} & {groups[i] for i in smaller}


def test_groups_of_one_are_split_like_examples() -> None:
    assert grouped_split(LABELS, range(len(LABELS)), 0.1, seed=3) == stratified_split(LABELS, 0.1, seed=3)
