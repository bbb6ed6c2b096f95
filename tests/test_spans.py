"""Spans and the tags that spell them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.spans import LabeledSpan, from_tags, may_follow, tags_of, to_tags


@st.composite
def spans(draw: st.DrawFn) -> tuple[list[LabeledSpan], int]:
    borders = sorted(draw(st.sets(st.integers(0, 30), max_size=12)))
    pairs = [(a, b) for a, b in itertools.pairwise(borders) if draw(st.booleans())]
    return [LabeledSpan(a, b, draw(st.sampled_from(["PER", "LOC", "NUM-X"]))) for a, b in pairs], 31


@given(spans(), st.sampled_from(["BIO", "BIOES"]))
def test_tags_spell_spans(example: tuple[list[LabeledSpan], int], scheme: str) -> None:
    found, length = example
    tags = to_tags(found, length, scheme)  # type: ignore[arg-type]
    assert from_tags(tags) == found
    around = [None, *tags, None]
    assert all(may_follow(a, b, scheme) for a, b in itertools.pairwise(around))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("I-PER I-PER O", [(0, 2, "PER")]),  # IOB1
        ("I-PER B-PER O", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
        ("B-PER O I-PER", [(0, 1, "PER"), (2, 3, "PER")]),
        ("B-PER E-PER S-LOC E-LOC", [(0, 2, "PER"), (2, 3, "LOC"), (3, 4, "LOC")]),
        ("O O", []),
        ("", []),
    ],
)
def test_tags_of_any_scheme_are_read(tags: str, found: list[tuple[int, int, str]]) -> None:
    assert from_tags(tags.split()) == [LabeledSpan(*f) for f in found]


@pytest.mark.parametrize("span", [(1, 1, "A"), (2, 5, "A"), (-1, 1, "A"), (0, 2, "A")])
def test_spans_that_no_tags_can_spell_are_refused(span: tuple[int, int, str]) -> None:
    with pytest.raises(ValueError, match=r"\[-?\d, \d\) of A"):
        to_tags([LabeledSpan(1, 2, "B"), LabeledSpan(*span)], 3)


@pytest.mark.parametrize(
    ("before", "after", "bio", "bioes"),
    [
        (None, "I-A", False, False),
        (None, "E-A", False, False),
        ("O", "I-A", False, False),
        ("B-A", "I-A", True, True),
        ("B-A", "I-B", False, False),
        ("I-A", "I-A", True, True),
        ("B-A", "O", True, False),
        ("B-A", None, True, False),
        ("B-A", "B-A", True, False),
        ("E-A", "I-A", True, False),  # no tag of BIO begins with E
        ("E-A", "B-A", True, True),
        ("S-A", "O", True, True),
        ("B-OG", "I-OG", True, True),  # a label that begins like a prefix
        ("O", None, True, True),
    ],
)
def test_what_may_follow(before: str | None, after: str | None, bio: bool, bioes: bool) -> None:
    assert may_follow(before, after, "BIOES") is bioes
    if not (before or "").startswith(("E-", "S-")) and not (after or "").startswith("E-"):
        assert may_follow(before, after, "BIO") is bio


def test_all_tags() -> None:
    assert tags_of(["LOC", "PER"], "BIO") == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert tags_of(["PER"], "BIOES") == ["O", "B-PER", "I-PER", "E-PER", "S-PER"]
