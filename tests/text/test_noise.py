"""Noise: what it does to texts, and to places in them."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.text.noise import NOISES, Edit, NoiseKind, edited, edits_of, inside, moved

TEXT = "배우들은 좋았는데 이야기가 너무 지루했다. 음악을 다시 듣고 싶다! 영화는 그저 그랬어요"
KINDS = sorted(NOISES)
ODD = ["", " ", "가", "\ud800", "👍🏽 ok", "\x00가 나", "가" * 5000, "é café", normalize("NFD", "한국 영화는")]


def noisy(kind: NoiseKind, text: str = TEXT, seed: int = 0) -> str:
    return edited(text, edits_of(text, kind, seed))


def test_every_kind_is_named() -> None:
    assert set(get_args(NoiseKind)) == set(NOISES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_changes_a_text_the_same_way_each_time(kind: NoiseKind) -> None:
    # One text may be spared what befalls a fifth of the words.
    changed = {noisy(kind, seed=seed) for seed in range(5)}
    assert changed != {TEXT}
    assert changed == {noisy(kind, seed=seed) for seed in range(5)}


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("kind", KINDS)
def test_edits_of_any_text_are_in_order_and_inside_it(kind: NoiseKind, text: str) -> None:
    place = 0
    for edit in edits_of(text, kind):
        assert place <= edit.start <= edit.end <= len(text)
        assert text[edit.start : edit.end] != edit.text
        place = edit.end


def test_what_each_kind_does() -> None:
    assert noisy("spaces", " 너무  지루했다\n") == "너무지루했다"
    assert noisy("nfd") == normalize("NFD", TEXT) != TEXT
    assert {noisy("laughter", "굿", seed) for seed in range(60)} == {"굿", "굿ㅋㅋ", "굿ㅋㅋㅋ", "굿ㅋㅋㅋㅋ"}
    drawn = {noisy("lengthening", "재밌다", seed) for seed in range(40)}
    assert drawn == {"재밌다", "재밌다아", "재밌다아아", "재밌다아아아"}
    assert {noisy("particles", "영화는 길다", seed) for seed in range(40)} == {
        "영화는 길다",
        "영화가 길다",
        "영화를 길다",
    }
    assert {noisy("typos", "좋았다", seed) for seed in range(200)} > {"좋았다", "좋앗다"}
    assert noisy("typos", "ok 123 !") == "ok 123 !"


@pytest.mark.parametrize(
    ("edits", "text", "span"),
    [
        ([], "나는 집에 갔다", (3, 5)),
        ([Edit(2, 3, "")], "나는집에 갔다", (2, 4)),
        ([Edit(3, 3, "큰 ")], "나는 큰 집에 갔다", (5, 7)),
        ([Edit(5, 5, "ㅋㅋ")], "나는 집에ㅋㅋ 갔다", (3, 5)),
        ([Edit(4, 4, "ㅋㅋ")], "나는 집ㅋㅋ에 갔다", (3, 7)),
        ([Edit(3, 4, "지입")], "나는 지입에 갔다", (3, 6)),
        ([Edit(4, 5, "")], "나는 집 갔다", (3, 4)),
        ([Edit(1, 3, "X"), Edit(6, 6, "!")], "나X집에 !갔다", (2, 4)),
        ([Edit(0, 1, "우리"), Edit(5, 7, "X")], "우리는 집에X다", (4, 6)),
    ],
)
def test_spans_move_with_their_characters(edits: list[Edit], text: str, span: tuple[int, int]) -> None:
    assert edited("나는 집에 갔다", edits) == text
    assert moved([(3, 5)], edits) == [span]


def test_edits_over_an_end_of_a_span_are_found() -> None:
    over = [Edit(2, 4, "X"), Edit(4, 6, "")]
    assert inside([*over, Edit(3, 5, "Y"), Edit(0, 3, ""), Edit(5, 5, "!")], [(3, 5)]) == [
        Edit(3, 5, "Y"),
        Edit(0, 3, ""),
        Edit(5, 5, "!"),
    ]


def test_typos_change_no_more_than_they_must() -> None:
    found = [edit for seed in range(40) for edit in edits_of("제주도에서는", "typos", seed)]
    assert found
    assert all(edit.end - edit.start <= 2 for edit in found)


@given(
    st.lists(st.text(alphabet="가나다좋았힣ab", min_size=1, max_size=6), min_size=1, max_size=6),
    st.sampled_from(KINDS),
    st.data(),
)
def test_spans_of_any_text_keep_their_characters_and_stay_apart(
    words: list[str], kind: NoiseKind, data: st.DataObject
) -> None:
    text, spans = "", []
    for word in words:
        cut = data.draw(st.integers(0, len(word)))
        spans += [(len(text) + a, len(text) + b) for a, b in ((0, cut), (cut, len(word))) if a < b]
        text += word + data.draw(st.sampled_from(["", " ", "  "]))
    edits = inside(edits_of(text, kind), spans)
    new, places = edited(text, edits), moved(spans, edits)
    assert all(0 <= start < end <= len(new) for start, end in places)
    assert all(one[1] <= other[0] for one, other in pairwise(places))
    for (start, end), (first, last) in zip(spans, places, strict=True):
        if kind == "nfd":
            assert normalize("NFC", new[first:last]) == text[start:end]
        elif kind in ("spaces", "laughter", "lengthening"):  # these happen between spans
            assert new[first:last] == text[start:end]
