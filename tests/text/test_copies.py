"""What is copied from a source into its target: not a letter of it may be lost, and every place stays where it was."""

from __future__ import annotations

import re
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.text import WhitespaceTokenizer
from korseq.text.copies import SLOTS, MaskingTokenizer, masked

MARKUP = r":[a-z]+:`[^`]+`|\d+"
# Markup, Hangul, spaces, and the slots' own characters.
TEXTS = st.lists(
    st.sampled_from([":func:`open`", ":class:`가~b`", "12", "7", "가", " ", "는", SLOTS[0], SLOTS[3], "`"])
).map("".join)


@given(TEXTS)
def test_what_is_masked_is_restored_and_places_stay(text: str) -> None:
    mask = masked(text, MARKUP)
    assert mask.restored(mask.text) == text
    assert not re.search(MARKUP, mask.text)
    contents = {slot: content for content, slot in mask.slots.items()}
    assert list(contents) == list(SLOTS[: len(contents)])
    for token in MaskingTokenizer(WhitespaceTokenizer(), MARKUP)(text).tokens:
        assert text[token.start : token.end] == mask.restored(token.form)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=3))
def test_a_target_has_the_slots_of_its_source(pairs: list[tuple[str, str]]) -> None:
    for source, target in pairs:
        mask = masked(source, MARKUP)
        written = mask.target(target)
        kept = "".join(
            c for c in target if c not in SLOTS or c in mask.slots
        )  # one that the source does not have stands for nothing
        assert mask.restored(written) == kept


def test_equal_strings_have_one_slot_and_other_ones_of_the_target_stay() -> None:
    mask = masked(":func:`open` 말고 :func:`close`, :func:`open`", MARKUP)
    first, second = SLOTS[:2]
    assert mask.text == f"{first} 말고 {second}, {first}"
    assert mask.target(":func:`close` not :func:`open`, not :func:`read`") == f"{second} not {first}, not :func:`read`"
    assert mask.restored(f"{second}{SLOTS[5]}!") == ":func:`close`!"


def test_more_strings_than_slots_are_read_as_they_are() -> None:
    text = " ".join(map(str, range(20)))
    mask = masked(text, MARKUP)
    assert mask.text.split() == [*SLOTS, *map(str, range(16, 20))]
    assert mask.restored(mask.text) == text


@pytest.mark.parametrize(("limit", "ends"), [(1, [1]), (3, [1, 7]), (5, [1, 7, 9]), (99, [1, 7, 9, 11, 13])])
def test_no_more_of_a_text_is_read_than_asked(limit: int, ends: list[int]) -> None:
    tokens = MaskingTokenizer(WhitespaceTokenizer(), MARKUP).stream(["가 12345 나 다 라"], limit)
    assert list(next(tokens).ends) == ends


def decomposed(text: str) -> str:
    return normalize("NFD", text)


def with_invisible_marks(text: str) -> str:
    return "\u200b" + text.replace("c", "c\u200b")


@pytest.mark.parametrize("change", [decomposed, with_invisible_marks])
def test_a_text_is_cleaned_before_anything_is_copied(change: Any) -> None:
    text = ":class:`가~b` 를 :class:`나`와 보세요"
    composed, other = masked(text, ":class:`[가-힣~b]+`"), masked(change(text), ":class:`[가-힣~b]+`")
    assert (other.text, other.slots) == (composed.text, composed.slots)
    tokens = MaskingTokenizer(WhitespaceTokenizer(), ":class:`[가-힣~b]+`")(change(text)).tokens
    spelt = [change(text)[token.start : token.end].replace("\u200b", "") for token in tokens]
    assert [normalize("NFC", word) for word in spelt] == text.split()


def test_a_character_of_private_use_is_never_taken_for_another_slot() -> None:
    text = "".join(f"{i:02} " for i in range(16)) + f"{SLOTS[3]} 가"
    mask = masked(text, MARKUP)
    assert mask.restored(mask.text) == text.replace(SLOTS[3], "\ufffd")
    assert len(mask.text) == len(text) - 16


def test_a_pattern_that_matches_nothing_at_all_changes_nothing() -> None:
    assert masked("가나 다", "x*").text == "가나 다"
    one, other = (MaskingTokenizer(WhitespaceTokenizer(), pattern).fingerprint() for pattern in ("x", "y"))
    assert one != other
