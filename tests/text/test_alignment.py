"""Characters, tokens and eojeols: the one object that relates them, against brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.text import Alignment, Analysis, Span, Token

# 나(0) 갔=가+았(1) 다(2) _ 학교(4,6) 이(6,6: a dropped copula) 다(6,7)
TEXT = "나갔다 학교다"
STARTS, ENDS = (0, 1, 1, 2, 4, 6, 6), (1, 2, 2, 3, 6, 6, 7)


def aligned() -> Alignment:
    return Alignment(TEXT, STARTS, ENDS)


def test_a_contraction_has_several_tokens_on_one_character() -> None:
    assert aligned().tokens_in(1, 2) == (1, 2)


def test_a_token_without_length_is_inside_where_it_begins() -> None:
    assert aligned().tokens_in(4, 6) == (4,)
    assert aligned().tokens_in(6, 7) == (5, 6)
    assert aligned().tokens_in(6, 6) == (5,)


def test_an_empty_range_shares_no_character_with_a_token() -> None:
    assert Alignment("가나다", [0], [3]).tokens_in(1, 1) == ()


def test_tokens_cover_characters() -> None:
    assert aligned().characters_of(1, 3) == Span(1, 2)
    assert aligned().characters_of(0, 7) == Span(0, 7)
    assert Alignment("어떡해", [0, 2], [3, 3]).characters_of(0, 1) == Span(0, 3)
    assert Alignment("어떡해서", [0, 2, 3], [4, 3, 4]).characters_of(0, 2) == Span(0, 4)


@pytest.mark.parametrize(("first", "last"), [(0, 0), (2, 1), (-1, 2), (0, 8), (7, 8)])
def test_ranges_without_tokens_are_refused(first: int, last: int) -> None:
    with pytest.raises(IndexError, match="among 7"):
        aligned().characters_of(first, last)


def test_boundaries_are_all_starts_and_ends() -> None:
    assert aligned().boundaries() == {0, 1, 2, 3, 4, 6, 7}


def test_eojeols_are_what_stands_between_white_space() -> None:
    assert aligned().eojeols == (Span(0, 3), Span(4, 7))
    assert [aligned().eojeol_at(i) for i in range(-1, 9)] == [None, 0, 0, 0, None, 1, 1, 1, None, None]
    assert aligned().tokens_by_eojeol == ((0, 1, 2, 3), (4, 5, 6))


def test_a_token_without_length_belongs_to_the_word_it_ends() -> None:
    alignment = Alignment("보겠다 하차", [0, 3, 4], [3, 3, 6])
    assert [alignment.eojeol_of(i) for i in range(3)] == [0, 0, 1]
    assert alignment.tokens_by_eojeol == ((0, 1), (2,))


def test_tokens_on_white_space_belong_to_no_eojeol() -> None:
    alignment = Alignment("가  나", [0, 1, 2, 3], [1, 3, 2, 4])
    assert alignment.tokens_by_eojeol == ((0,), (3,))


@pytest.mark.parametrize(
    ("starts", "ends", "message"),
    [
        ([0], [4], "inside the text"),
        ([-1], [2], "inside the text"),
        ([2], [1], "inside the text"),
        ([1, 0], [2, 1], "must not decrease"),
        ([0, 1], [1], "shorter"),
    ],
)
def test_impossible_offsets_are_refused(starts: list[int], ends: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Alignment("가나다", starts, ends)


def test_analyses_give_tokens_and_their_alignment() -> None:
    analysis = Analysis("갔다", ("가", "었", "다"), ("VV", "EP", "EF"), (0, 0, 1), (1, 1, 2))
    assert analysis.tokens[1] == Token("었", "EP", 0, 1)
    assert len(analysis) == 3
    assert analysis.alignment.tokens_by_eojeol == ((0, 1, 2),)


@st.composite
def alignments(draw: st.DrawFn) -> Alignment:
    text = draw(st.text("가나 \n", max_size=15))
    place = st.integers(0, len(text))
    spans = sorted(sorted((draw(place), draw(place))) for _ in range(draw(st.integers(0, 10))))
    return Alignment(text, [s for s, _ in spans], [e for _, e in spans])


@given(alignments(), st.integers(0, 16), st.integers(0, 16))
def test_tokens_in_finds_what_brute_force_finds(alignment: Alignment, a: int, b: int) -> None:
    start, end = sorted((a, b))

    def inside(s: int, e: int) -> bool:
        if s == e:
            return s in range(start, end) or s == start
        return bool(set(range(s, e)) & set(range(start, end)))

    expected = tuple(i for i, span in enumerate(zip(alignment.starts, alignment.ends, strict=True)) if inside(*span))
    assert alignment.tokens_in(start, end) == expected


@given(alignments())
def test_eojeols_partition_what_is_no_white_space(alignment: Alignment) -> None:
    for place, char in enumerate(alignment.text):
        holders = [i for i, (s, e) in enumerate(alignment.eojeols) if s <= place < e]
        assert holders == ([] if char.isspace() else [alignment.eojeol_at(place)])
    grouped = [token for group in alignment.tokens_by_eojeol for token in group]
    assert grouped == [i for i in range(len(alignment.starts)) if alignment.eojeol_of(i) is not None]


@given(alignments())
def test_characters_of_tokens_hold_these_tokens(alignment: Alignment) -> None:
    for first in range(len(alignment.starts)):
        for last in range(first + 1, len(alignment.starts) + 1):
            start, end = alignment.characters_of(first, last)
            assert start == min(alignment.starts[first:last])
            assert end == max(alignment.ends[first:last])
