"""Cleaning: what changes, that it can be undone, and that no text is too strange or too long for it."""

from __future__ import annotations

from itertools import pairwise
from unicodedata import combining, is_normalized, normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from korseq.text import CleanText, clean

# Characters that meet each other's edge cases: jamo, marks that compose, reorder or decompose, joiners, emoji, controls.
TRICKY = (
    "가각ᄒ한ᄀ\u1161\u11a8aeé =\u0300\u0301\u0316\u0338\u0344\u0f71\u0f73\u09c7\u09be\u3099か\u212b\u2adc\u20d0\u20e3"
    "\u200b\u200c\u200d\ufeff\u00ad\ufe0e\ufe0f\x00\x0b\x0c\r\n\t\x1f\x85\u2028❤🔥👩🏽💻🇰🇷\ud83d\ude00\udfff"
)
TEXTS = st.one_of(
    st.text(st.characters(), max_size=40),  # any code point, surrogates too
    st.text(st.sampled_from(TRICKY), max_size=12),
)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        (normalize("NFD", "한국어를 배웠다"), "한국어를 배웠다"),
        ("영\u200b화", "영화"),
        ("\ufeff영화", "영화"),
        ("영\u00ad화\u2060는", "영화는"),
        ("좋\x00다\x1b\x7f\x9f", "좋다"),
        ("첫 줄\r\n둘째\r셋째\n", "첫 줄\n둘째\n셋째\n"),
        ("첫 쪽\f둘째 쪽\v끝\x1f.", "첫 쪽 둘째 쪽 끝 ."),
        ("탭은\t남는다", "탭은\t남는다"),
        ("반쪽 \ud83d 글자 \udc00", "반쪽 \ufffd 글자 \ufffd"),
        ("ᄒ\u200bᅡ", "하"),
        ("e\u200b\u0301", "é"),
        ("❤\ufe0e", "❤"),
        ("", ""),
        ("\u200b\ufeff\x00", ""),
    ],
)
def test_what_misleads_an_analyzer_goes(given_text: str, expected: str) -> None:
    assert clean(given_text).text == expected


@pytest.mark.parametrize("emoji", ["👨‍👩‍👧‍👦", "👍🏽", "🇰🇷", "👩🏽‍💻", "❤️‍🔥", "🏳️‍🌈", "1️⃣", "🙋‍♀️"])
@pytest.mark.parametrize("around", ["좋아요{}", "{} 좋아요", "영화{}최고\u200b"])
def test_emoji_sequences_stay_whole(emoji: str, around: str) -> None:
    assert clean(around.format(emoji)).text == around.format(emoji).replace("\u200b", "")


@pytest.mark.parametrize("text", ["❤\u200d\u200da", "❤\u200d\u200b가", "가\u200d나", "\u200d❤", "❤\u200d", "❤\u200d ❤"])
def test_joiners_that_join_no_emoji_go(text: str) -> None:
    assert "\u200d" not in clean(text).text


def test_repeated_joiners_become_one() -> None:
    assert clean("👩\u200d\u200b\u200d💻").text == "👩\u200d💻"


def test_clean_text_is_passed_on_as_it_is() -> None:
    text = "이미 깨끗한 글, 😀!"
    assert clean(text).text is text
    assert clean(text).to_source(3, 6) == (3, 6)


@pytest.mark.parametrize(
    ("source", "word", "part"),
    [
        (normalize("NFD", "나는 학교에 갔다"), "학교", normalize("NFD", "학교")),
        ("그 영\u200b\u200b화 봤어", "영화", "영\u200b\u200b화"),
        ("하나\r\n둘", "\n", "\n"),
        ("하나\r둘", "\n", "\r"),
        ("아\ud800야", "\ufffd", "\ud800"),
        ("\ufeff\x00맨 앞", "맨", "맨"),
    ],
)
def test_spans_lead_back_to_the_source(source: str, word: str, part: str) -> None:
    cleaned = clean(source)
    start = cleaned.text.index(word)
    begin, end = cleaned.to_source(start, start + len(word))
    assert source[begin:end] == part


def test_empty_spans_stay_empty() -> None:
    cleaned = clean("가\u200b나")
    assert [cleaned.to_source(i, i) for i in range(3)] == [(0, 0), (2, 2), (3, 3)]


def assert_reversible(cleaned: CleanText) -> None:
    """Offsets never decrease, lie inside the source, and each part of the source cleans to what it became."""
    spans = [cleaned.to_source(i, i + 1) for i in range(len(cleaned.text))]
    assert all(0 <= start < end <= len(cleaned.source) for start, end in spans)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(spans))
    whole = cleaned.to_source(0, len(cleaned.text))
    assert not spans or whole == (spans[0][0], spans[-1][1])


@given(TEXTS)
@example("❤\u200d\u200da")
@example("❤\u200d\u2adc\u200d❤")
@example("e\u200b\u0301")
@example("a\u0f73\u0301")
def test_any_text_becomes_valid_composed_and_stable(text: str) -> None:
    cleaned = clean(text)
    cleaned.text.encode()
    assert is_normalized("NFC", cleaned.text)
    assert clean(cleaned.text).text == cleaned.text
    assert cleaned.source == text
    assert_reversible(cleaned)


@given(TEXTS)
def test_composed_and_decomposed_text_clean_to_the_same(text: str) -> None:
    text = clean(text).text
    assert clean(normalize("NFD", text)).text == text


UNSUSPICIOUS = st.one_of(
    st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"], exclude_characters="\ufe0e"), max_size=30),
    st.text(st.sampled_from("가각ᄒᄀ\u1161\u11a8ae\u0300\u0301\u0316\u0338\u0344\u0f71\u0f73\u09c7\u09be\u3099か "), max_size=9),
)  # fmt: skip


@given(UNSUSPICIOUS)
@example("a\u0f73\u0301")
@example("ᄒ\u1161\u11abᄀ\u1161")
def test_segments_compose_as_the_whole_text_does(text: str) -> None:
    assert clean(text).text == normalize("NFC", text)


def test_every_character_that_normalisation_touches_is_composed_as_unicode_says() -> None:
    touched = [
        c
        for c in map(chr, (*range(0xD800), *range(0xE000, 0x30000)))
        if not is_normalized("NFC", c) or not is_normalized("NFD", c) or combining(c)
    ]
    assert len(touched) > 10_000
    for context in ("{}", "가{}", "a{}\u0301", "ᄒ{}", "\u0338{}\u11a8"):
        text = " ".join(context.format(c) for c in touched)
        assert clean(text).text == normalize("NFC", text)


@pytest.mark.parametrize("marks", ["\u0301", "\u0301\u0316", "\u0344\u0316\u3099"])
def test_endless_runs_of_marks_are_put_in_order(marks: str) -> None:
    cleaned = clean("a" + marks * 40)
    assert cleaned.text == normalize("NFC", "a" + marks * 40)
    assert cleaned.to_source(0, 1) == (0, 1 + 40 * len(marks))


@pytest.mark.parametrize(
    "text",
    [
        "재미있는 영화\r\n" * 111_111,
        normalize("NFD", "재미있는 영화 ") * 60_000,
        "a" + "\u0301\u0316" * 500_000,
        "\u200d" * 1_000_000,
        "❤\u200d" * 500_000,
        "\ud800" * 1_000_000,
    ],
    ids=["CRLF", "NFD", "marks", "joiners", "hearts", "surrogates"],
)
def test_long_texts_are_cleaned(text: str) -> None:
    # Quadratic time would show here as hours.
    cleaned = clean(text)
    assert is_normalized("NFC", cleaned.text)
    if cleaned.text:
        assert cleaned.to_source(len(cleaned.text) - 1, len(cleaned.text))[1] in (len(text), len(text) - 1)
