"""Tokenizers: exact offsets in the string as given, order, options, fingerprints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from korseq.errors import ConfigError, DataError
from korseq.registry import components, create
from korseq.text import (
    Analysis,
    CharacterTokenizer,
    GivenTokens,
    KiwiTokenizer,
    SyllableTokenizer,
    Tokenizer,
    UserWord,
    WhitespaceTokenizer,
    kiwi,
)

KIWI = KiwiTokenizer()


@pytest.fixture
def spare_kiwis() -> Iterator[None]:
    """Kiwis with other options than the shared one's take 0.5 GB each: forget them."""
    before = dict(kiwi._instances)
    yield
    for options in set(kiwi._instances) - set(before):
        del kiwi._instances[options]


def words(analysis: Analysis) -> list[tuple[str, str]]:
    """Each token with the part of the source it stands on."""
    return [(t.form, analysis.text[t.start : t.end]) for t in analysis.tokens]


def assert_sound(analysis: Analysis, text: str) -> None:
    assert analysis.text == text
    assert analysis.alignment.starts == analysis.starts  # the constructor checks bounds and order
    assert len({len(c) for c in (analysis.forms, analysis.tags, analysis.starts, analysis.ends)}) == 1


# Kiwi ---------------------------------------------------------------------------------------------------------------


def test_contractions_overlap() -> None:
    assert words(KIWI("집에 갔다"))[-3:] == [("가", "갔"), ("었", "갔"), ("다", "다")]


def test_a_dropped_copula_has_no_length() -> None:
    assert ("이", "") in words(KIWI("여기는 학교다."))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (normalize("NFD", "학교에 갔다"), [("학교", normalize("NFD", "학교")), ("가", normalize("NFD", "갔"))]),
        ("😀😀 영화 👍🏽 최고", [("😀", "😀"), ("영화", "영화"), ("👍🏽", "👍🏽"), ("최고", "최고")]),
        ("👨‍👩‍👧‍👦 가족", [("👨‍👩‍👧‍👦", "👨‍👩‍👧‍👦"), ("가족", "가족")]),
        ("\ud800 영화\udfff 최고", [("영화", "영화"), ("\ufffd", "\udfff"), ("최고", "최고")]),
        ("영화\r\n배우\r음악\x00", [("영화", "영화"), ("배우", "배우"), ("음악", "음악")]),
        ("영\u200b화\u00ad 최고", [("영화", "영\u200b화"), ("최고", "최고")]),
        ("\ufeff\u200b영화", [("영화", "영화")]),
    ],
)
def test_offsets_count_in_the_string_as_given(text: str, expected: list[tuple[str, str]]) -> None:
    assert set(expected) <= set(words(KIWI(text)))
    assert_sound(KIWI(text), text)


def test_decomposed_text_has_the_tokens_of_composed_text() -> None:
    text = "어제 본 영화가 정말 재미있었어요!"
    composed, decomposed = KIWI(text), KIWI(normalize("NFD", text))
    assert decomposed.forms == composed.forms
    assert decomposed.tags == composed.tags
    assert [normalize("NFC", part) for _, part in words(decomposed)] == [part for _, part in words(composed)]


@given(
    st.text(
        st.one_of(st.sampled_from("갔다영화 ᄒ\u1161\u200b\u200d\r\n\ud800😀🏽ㅋㅠa1.\u0301"), st.characters()),
        max_size=20,
    )
)
@settings(max_examples=100)
@example("\ud83d\ude00 갔다")
@example("\u1112\u200b\u1161\u11ab국")
def test_any_text_has_sound_offsets(text: str) -> None:
    assert_sound(KIWI(text), text)


LONG = "배우 " * 3000 + "가" * 700 + " 영화 " + "음악이 좋다. " * 900


def test_batches_keep_their_order() -> None:
    texts = ["영화", "", LONG, " ", "배우가 좋다", "\u200b", LONG[:5000], "끝"]
    assert KIWI(texts) == [KIWI(text) for text in texts]
    assert [analysis.text for analysis in KIWI(texts)] == texts


def test_analysing_nothing_gives_nothing() -> None:
    assert KIWI([]) == []
    assert len(KIWI("")) == 0


def test_streams_are_lazy() -> None:
    taken = 0

    def texts() -> Iterator[str]:
        nonlocal taken
        for i in range(100_000):
            taken += 1
            yield f"영화 {i}"

    assert next(KIWI.stream(texts())).forms == ("영화", "0")
    assert taken < 10_000


def test_errors_of_the_callers_texts_reach_the_caller() -> None:
    def texts() -> Iterator[str]:
        yield "영화"
        raise KeyError("원고")

    with pytest.raises(KeyError, match="원고"):
        KIWI(texts())
    assert KIWI("영화").forms == ("영화",)


def test_texts_of_many_pieces_keep_their_offsets() -> None:
    analysis = KIWI(LONG)
    assert_sound(analysis, LONG)
    for form in ("배우", "영화", "음악"):
        parts = [part for found, part in words(analysis) if found == form]
        assert len(parts) == LONG.count(form)
        assert set(parts) == {form}


def test_reading_stops_about_where_it_is_told_to() -> None:
    limited = list(KIWI.stream([LONG, "영화", ""], max_characters=100))
    assert 0 < limited[0].ends[-1] <= 100
    assert limited[0].forms == KIWI(LONG[:100]).forms
    assert limited[1].forms == ("영화",)
    assert next(KIWI.stream([LONG], max_characters=5000)).ends[-1] <= 5000


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"typos": "basic"}, "충전이 않되요", ("안", "되")),
        ({"normalize_coda": True}, "먹었엌ㅋㅋ", ("ㅋㅋㅋ",)),
        ({"z_coda": False}, "했어욥", ("했어욥",)),
        ({"split_complex": True}, "참 멋있네요", ("멋", "있")),
        ({"saisiot": True}, "바닷가", ("바다", "ᆺ", "가")),
        ({"oov_handling": "rule"}, "뷁쇼니도", ("뷁쇼니도",)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_options_of_an_analysis_take_effect(options: dict[str, Any], text: str, expected: tuple[str, ...]) -> None:
    assert set(expected) <= set(replace(KIWI, **options)(text).forms)
    assert not set(expected) <= set(KIWI(text).forms)


@pytest.mark.usefixtures("spare_kiwis")
@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({"integrate_allomorph": False}, "영화를 보았다", ("았", "EP")),
        ({"default_dictionary": False}, "임영웅", ("임영웅", "NNG")),
    ],
    ids=["allomorphs", "dictionary"],
)
def test_options_of_the_dictionary_take_effect(options: dict[str, Any], text: str, expected: tuple[str, str]) -> None:
    changed, plain = replace(KIWI, **options)(text), KIWI(text)
    assert expected in zip(changed.forms, changed.tags, strict=True)
    assert expected not in zip(plain.forms, plain.tags, strict=True)


@pytest.mark.usefixtures("spare_kiwis")
def test_user_words_are_found() -> None:
    # Words that end like a noun with its particle, so that nobody would guess them; the second is written decomposed.
    forms = ("뷁쇼는", "뚧팡을", "하얀 쀍")
    added = tuple(UserWord(normalize("NFD" if form == "뚧팡을" else "NFC", form), "NNP", 10.0) for form in forms)
    text = "뷁쇼는 뚧팡을 하얀 쀍"
    assert KiwiTokenizer(user_words=added)(text).forms == forms
    assert set(forms).isdisjoint(KIWI(text).forms)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "knlm"}, "'cong'"),
        ({"typos": "basik"}, "'basic'"),
        ({"oov_handling": "guess"}, "'rule'"),
        ({"typo_cost_threshold": 0}, "greater than 0"),
        ({"threads": 0}, "greater than or equal to 1"),
        ({"user_words": [{"form": ""}]}, "at least 1 character"),
        ({"user_words": [{"form": "가", "score": "높음"}]}, "valid number"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_loaded(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        create(KiwiTokenizer, options)


# User dictionaries --------------------------------------------------------------------------------------------------

WORDS = (UserWord("코르섹", "NNP", 1.5), UserWord("하얀 거탑", "NNP"))


def dictionary(folder: Path, content: str | bytes) -> Path:
    path = folder / "사전.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "코르섹\tNNP\t1.5\n하얀 거탑\tNNP\n",
        "\ufeff# 내 사전\r\n\r\n코르섹\tNNP\t1.5\r\n하얀 거탑\tNNP\t\r\n",
        "코르섹 \t NNP \t 1.5\n  \n하얀 거탑\tNNP",
    ],
    ids=["plain", "Windows", "loose"],
)
def test_user_dictionaries_are_read(content: str, tmp_path: Path) -> None:
    assert UserWord.read(dictionary(tmp_path, content)) == WORDS


@pytest.mark.parametrize(
    "line", ["코르섹 NNP", "코르섹", "\tNNP", "코르섹\tNNP\t높음", "코르섹\tNNP\t1.5\t덤", "코르섹\tNNP\t1\u20285"]
)
def test_bad_dictionary_lines_are_named(line: str, tmp_path: Path) -> None:
    path = dictionary(tmp_path, f"# 내 사전\n\n하얀\u2028거탑\tNNP\n{line}\n")
    with pytest.raises(DataError, match="expected 'form<TAB>tag<TAB>score'") as caught:
        UserWord.read(path)
    assert (caught.value.source, caught.value.row) == (str(path), 4)


def test_unreadable_dictionaries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a UTF-8 text file"):
        UserWord.read(dictionary(tmp_path, "코르섹\tNNP\n".encode("cp949")))
    with pytest.raises(DataError, match="cannot read the user dictionary"):
        KiwiTokenizer(user_dictionary=str(tmp_path / "없음.txt")).fingerprint()


def test_a_dictionary_file_is_the_same_as_its_words(tmp_path: Path) -> None:
    path = dictionary(tmp_path, "뷁쇼\tNNP\t1.5\n")
    from_file = KiwiTokenizer(user_dictionary=str(path))
    inline = KiwiTokenizer(user_words=(UserWord("뷁쇼", "NNP", 1.5),))
    assert from_file.with_data_inside() == inline
    assert from_file.fingerprint() == inline.fingerprint()
    assert from_file._options() == inline._options()
    path.write_text("뷁쇼\tNNP\t2.5\n", encoding="utf-8")
    assert from_file.fingerprint() != inline.fingerprint()


# Fingerprints -------------------------------------------------------------------------------------------------------

OTHERWISE: dict[str, Any] = {
    "model_type": "cong-global",
    "typos": "basic",
    "typo_cost_threshold": 1.0,
    "integrate_allomorph": False,
    "default_dictionary": False,
    "multiword_dictionary": False,
    "normalize_coda": True,
    "z_coda": False,
    "split_complex": True,
    "saisiot": True,
    "oov_handling": "rule",
    "user_words": WORDS,
}


def test_every_option_but_threads_changes_the_fingerprint() -> None:
    assert set(OTHERWISE) | {"threads", "user_dictionary"} == {field.name for field in fields(KiwiTokenizer)}
    found = [replace(KIWI, **{name: value}).fingerprint() for name, value in OTHERWISE.items()]
    found += [replace(KIWI, saisiot=False).fingerprint(), replace(KIWI, user_words=WORDS[:1]).fingerprint()]
    assert len({*found, KIWI.fingerprint()}) == len(found) + 1
    assert replace(KIWI, threads=3).fingerprint() == KIWI.fingerprint()


def test_tokenizers_have_different_fingerprints() -> None:
    kinds = components("tokenizer").values()
    assert len({cls().learn(["영화가 좋다"]).fingerprint() for cls in kinds}) == len(kinds)
    assert GivenTokens("|").fingerprint() != GivenTokens("+").fingerprint()
    assert WhitespaceTokenizer().fingerprint() == WhitespaceTokenizer().fingerprint()


# All tokenizers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", components("tokenizer").values(), ids=lambda cls: cls.__name__)
def test_every_tokenizer_keeps_its_contract(kind: type[Tokenizer]) -> None:
    tokenizer = kind().learn(["영화가 좋다", "말이 좋다"])
    texts = ["영화가 좋다", "", normalize("NFD", "영화가 좋다"), "가\ud800나 \r\n다\x00", "😀 👍🏽", "말" * 300]
    found = tokenizer(texts)
    assert found == [tokenizer(text) for text in texts]
    for analysis, text in zip(found, texts, strict=True):
        assert_sound(analysis, text)
        assert all(bool(tag) == tokenizer.has_tags for tag in analysis.tags)
    assert found[0].forms == found[2].forms
    assert next(tokenizer.stream(["말 " * 300], max_characters=10)).ends[-1] <= 10
    assert tokenizer.with_data_inside() == tokenizer


@pytest.mark.parametrize(
    ("tokenizer", "text", "expected"),
    [
        (WhitespaceTokenizer(), " 영화가\t좋다\n참\u3000좋다 ", ["영화가", "좋다", "참", "좋다"]),
        (WhitespaceTokenizer(), "앞쪽\f뒤쪽", ["앞쪽", "뒤쪽"]),
        (SyllableTokenizer(), "좋 다!", ["좋", "다", "!"]),
        (CharacterTokenizer(), "좋 다!\n ok", ["좋", " ", "다", "!", "\n", " ", "o", "k"]),
        (GivenTokens(), "좋 다  요", ["좋", "다", "요"]),
        (GivenTokens("+"), "좋+다 요++죠+", ["좋", "다 요", "죠"]),
        (GivenTokens("|"), "a|b.c", ["a", "b.c"]),
        (GivenTokens("\t"), "가 나\t다", ["가 나", "다"]),
    ],
)
def test_patterns_cut_where_they_say(tokenizer: Tokenizer, text: str, expected: list[str]) -> None:
    analysis = tokenizer(text)
    assert list(analysis.forms) == expected
    assert [part for _, part in words(analysis)] == expected


def test_separators_are_one_of_a_few() -> None:
    with pytest.raises(ConfigError, match="Input should be ' '"):
        GivenTokens(",")  # type: ignore[arg-type]
