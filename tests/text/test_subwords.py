"""Subwords: whatever is cut can be put together again, and every piece knows its place."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any
from unicodedata import normalize

import pytest
from helpers import unhurried
from hypothesis import example, given
from hypothesis import strategies as st

from korseq.errors import DataError
from korseq.registry import settings_of
from korseq.text import KiwiTokenizer, MorphemeSubwords, Subwords, Vocabulary, WhitespaceTokenizer, clean

SENTENCES = [
    f"{who} {when} {where}에 {what}."
    for who in ("저는", "친구는", "동생이", "어머니는")
    for when in ("오늘", "어제", "내일 아침")
    for where in ("학교", "시장", "도서관")
    for what in ("갔어요", "가요", "갈 거예요", "안 갔어요")
]
UNIGRAM = Subwords(420, kind="unigram").learn(SENTENCES)
BPE = Subwords(340).learn(SENTENCES)
MORPHEMES = MorphemeSubwords(420).learn(SENTENCES)
ALL = {
    "unigram": UNIGRAM,
    "bpe": BPE,
    "morphemes": MORPHEMES,
    "unigram of morphemes": MorphemeSubwords(420, kind="unigram").learn(SENTENCES),
    "symbols": Subwords(420, symbols=("`", ":func:", "<x>", "가 ")).learn(SENTENCES),
    "symbols among morphemes": MorphemeSubwords(420, symbols=("`", ":func:", "<x>", "교에")).learn(SENTENCES),
}

# Korean, other scripts, spaces of all kinds, markup, and what SentencePiece means by something.
TEXTS = st.text(
    st.sampled_from("가나다학교에갔 어요ㅋㅠ각abc.:`()<>0x41▁\n\t\u3000😀한éא" + normalize("NFD", "각한é"))
    | st.characters(codec="utf-8"),
    max_size=40,
)


@pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL)
@unhurried
@given(TEXTS)
@example("")
@example(" ")
@example("▁")
@example("<0x41><unk><s></s><pad>")
@example("  학교에\n\n갔다 \t")
@example(normalize("NFD", "학교에 갔다"))
@example(":func:`<x>가 학교에`::func::<x<x>>")
@example("lone \ud800 surrogate\x00")
def test_text_comes_back_from_its_ids_as_it_was_after_cleaning(tokenizer: Any, text: str) -> None:
    analysis = tokenizer(text)
    vocabulary = Vocabulary(tokenizer.pieces())
    assert tokenizer.decode([vocabulary.token(i) for i in vocabulary.ids(analysis.forms)]) == clean(text).text
    assert analysis.text == text


@pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL)
@unhurried
@given(TEXTS)
def test_places_follow_each_other_in_the_text_as_it_was_given(tokenizer: Any, text: str) -> None:
    analysis = tokenizer(text)
    places = list(zip(analysis.starts, analysis.ends, strict=True))
    assert all(0 <= start <= end <= len(text) for start, end in places)
    assert [*analysis.starts] == sorted(analysis.starts)
    if clean(text).text == text:
        assert "".join(text[s:e] for s, e in places).replace(" ", "") == text.replace(" ", "")


def test_pieces_stand_where_their_characters_do() -> None:
    text = "내일  학교에 갔어요😀."
    analysis = MORPHEMES(text)
    pairs = [(form, text[start:end]) for form, (start, end) in zip(analysis.forms, places(analysis), strict=True)]
    assert ("▁학교", "학교") in pairs
    assert ("에", "에") in pairs
    assert [surface for form, surface in pairs if form.startswith("<0xF0")] == [
        "😀"
    ]  # the other three bytes have no place


def places(analysis: Any) -> list[tuple[int, int]]:
    return list(zip(analysis.starts, analysis.ends, strict=True))


def test_no_piece_crosses_the_beginning_of_a_morpheme() -> None:
    for text in SENTENCES[:20]:
        morphemes = KiwiTokenizer()(text)
        inside = {start for start in morphemes.starts if start > 0}
        for start, end in places(MORPHEMES(text)):
            assert not inside & set(range(start + 1, end))
    assert "에" in MORPHEMES.pieces()  # the particle is a piece of its own, after whatever it stands
    assert not any(piece.endswith("교에") for piece in MORPHEMES.pieces())


def test_boundaries_may_be_those_of_any_tokenizer() -> None:
    words = MorphemeSubwords(420, boundaries=WhitespaceTokenizer()).learn(SENTENCES)
    assert words("학교에 가요").forms == Subwords(420).learn(SENTENCES)("학교에 가요").forms


def test_symbols_are_kept_whole() -> None:
    for kind in (Subwords, MorphemeSubwords):
        tokenizer = kind(420, symbols=(":func:", "<NAME>")).learn(SENTENCES)
        for text in ("저는 :func:`갔어요` <NAME>에", "학교:func:학교"):
            forms = tokenizer(text).forms
            assert any(form.endswith(":func:") for form in forms)
            assert tokenizer.decode(forms) == text
        assert sum("<NAME>" in form for form in tokenizer("<NAME>에 <NAME>은").forms) == 2


LAUGHTER = Subwords(300).learn(["가ㅋㅋ", "하ㅋㅋ", "ㅋㅋ"] * 9)


@unhurried
@given(st.text("ㅋ가하", min_size=1, max_size=12))
@example("ㅋㅋㅋ")
def test_merges_of_which_none_is_left_out_are_those_of_sentencepiece(word: str) -> None:
    for segment in (word, " " + word):
        ((best,), _) = LAUGHTER.ways(segment)
        assert replace(LAUGHTER, sampling=1e-300).ways(segment) == ([tuple(best)], [1.0])


def test_long_texts_may_be_cut() -> None:
    text = "학교에 갔어요. " * 100_000
    assert len(UNIGRAM.with_threads(1)(text).forms) > 100_000
    (cut,) = UNIGRAM.stream([text], max_characters=10)
    assert UNIGRAM.decode(cut.forms) == text[:10]
    (cut,) = MORPHEMES.stream([text], max_characters=10)
    assert MORPHEMES.decode(cut.forms) == text[:10]


def test_what_was_learnt_is_kept_beside_the_settings() -> None:
    assert "model" not in settings_of(UNIGRAM)
    again = Subwords(420, kind="unigram").with_data(UNIGRAM.data)
    assert again == UNIGRAM
    assert again.fingerprint() == UNIGRAM.fingerprint() != BPE.fingerprint()
    assert pickle.loads(pickle.dumps(MORPHEMES))("학교에 가요") == MORPHEMES("학교에 가요")
    with pytest.raises(ValueError, match="no model of SentencePiece"):
        Subwords().with_data(b"something else")
    with pytest.raises(ValueError, match="not learnt yet"):
        Subwords()("학교")


def test_the_same_texts_teach_the_same_pieces() -> None:
    assert Subwords(420, kind="unigram").learn(SENTENCES) == UNIGRAM
    assert MorphemeSubwords(420).learn(SENTENCES) == MORPHEMES


def test_small_corpora_have_fewer_pieces_and_impossible_sizes_are_told() -> None:
    few = Subwords(8000).learn(SENTENCES[:3])
    assert 260 < len(few.pieces()) < 400
    many = ["".join(chr(0xAC00 + 50 * i + j) for j in range(50)) for i in range(100)]
    with pytest.raises(DataError, match="change the tokenizer's vocab_size, or lower its character_coverage"):
        Subwords(300, character_coverage=1.0).learn(many)
    with pytest.raises(DataError, match="subwords can be learnt"):
        Subwords().learn(["", " "])


def test_pieces_have_the_ids_of_the_specials_before_them() -> None:
    """Ids of SentencePiece's own would begin with the same four."""
    assert len(UNIGRAM.pieces()) == len(set(UNIGRAM.pieces()))
    assert not {"<pad>", "<unk>", "<bos>", "<eos>"} & set(UNIGRAM.pieces())
