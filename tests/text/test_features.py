"""What embedding stages read of a token."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.text import Alignment, Analysis, KiwiTokenizer, WhitespaceTokenizer
from korseq.text.clean import clean
from korseq.text.features import FEATURES, ngrams

# 나 갔(가+았)다 _ 학교(이)다
ANALYSIS = Analysis(
    "나갔다 학교다",
    ("나", "가", "었", "다", "학교", "이", "다"),
    ("NP", "VV", "EP", "EF", "NNG", "VCP", "EF"),
    (0, 1, 1, 2, 4, 6, 6),
    (1, 2, 2, 3, 6, 6, 7),
)


@pytest.mark.parametrize(
    ("feature", "symbols"),
    [
        ("morpheme", ["나/NP", "가/VV", "었/EP", "다/EF", "학교/NNG", "이/VCP", "다/EF"]),
        ("form", ["나", "가", "었", "다", "학교", "이", "다"]),
        ("tag", ["NP", "VV", "EP", "EF", "NNG", "VCP", "EF"]),
        ("eojeol", ["나갔다"] * 4 + ["학교다"] * 3),
        ("eojeol_ngrams", ["나갔다"] * 4 + ["학교다"] * 3),
    ],
)
def test_features_have_one_symbol_a_token(feature: str, symbols: list[str]) -> None:
    assert list(FEATURES[feature].symbols(ANALYSIS)) == symbols


@pytest.mark.parametrize("feature", FEATURES)
def test_empty_texts_have_no_symbols(feature: str) -> None:
    assert list(FEATURES[feature].symbols(Analysis("", (), (), (), ()))) == []


def test_ngrams_mark_the_boundaries_of_a_word() -> None:
    assert sorted(ngrams("영화")) == sorted(["<", "영", "화", ">", "<영", "영화", "화>", "<영화", "영화>"])
    assert sorted(ngrams("왜")) == sorted(["<", "왜", ">", "<왜", "왜>", "<왜>"])


def test_ngrams_of_endless_words_are_bounded() -> None:
    assert ngrams("하" * 100_000) == ngrams("하" * 24)


def test_what_has_parts_has_a_table_of_them() -> None:
    with_parts = {name for name, feature in FEATURES.items() if feature.parts}
    assert with_parts == {"form_syllables", "form_jamo", "form_ngrams", "eojeol_ngrams"}
    assert with_parts == {name for name, feature in FEATURES.items() if feature.table}


def test_tokens_know_whether_they_begin_a_word() -> None:
    analysis = KiwiTokenizer()("서울에 갔다")
    assert list(zip(analysis.forms, FEATURES["place"].symbols(analysis), strict=True)) == [
        ("서울", "B"),
        ("에", "I"),
        ("가", "B"),
        ("었", "B"),
        ("다", "I"),
    ]


@pytest.mark.parametrize("text", ["어제 본 영화가 참 좋았어요", "하차합니다 보겠다", "한국의\u200b 영화"])
def test_decomposed_text_has_the_eojeols_of_composed_text(text: str) -> None:
    tokenizer = KiwiTokenizer()
    composed, decomposed = tokenizer(text), tokenizer(normalize("NFD", text))
    assert FEATURES["eojeol"].symbols(decomposed) == FEATURES["eojeol"].symbols(composed)
    assert set(FEATURES["eojeol"].symbols(composed)) == {clean(word).text for word in text.split()}


def test_a_token_without_length_belongs_to_the_word_it_ends() -> None:
    analysis = Analysis("보겠다 하차", ("보겠다", "하", "하차"), ("", "", ""), (0, 3, 4), (3, 3, 6))
    assert FEATURES["eojeol"].symbols(analysis) == ["보겠다", "보겠다", "하차"]


@given(st.text("가나 \n\t\f\r\u200b\u3000", max_size=20))
def test_eojeols_are_those_of_the_alignment(text: str) -> None:
    analysis = WhitespaceTokenizer()(text)
    alignment = Alignment(text, analysis.starts, analysis.ends)
    spans = [alignment.eojeols[i] for i in map(alignment.eojeol_of, range(len(analysis))) if i is not None]
    assert FEATURES["eojeol"].symbols(analysis) == [clean(text[s:e]).text for s, e in spans]
