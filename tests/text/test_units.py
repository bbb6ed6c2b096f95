"""Units of a tagger: nothing of the text is lost, and each knows its tokens."""

from __future__ import annotations

import unicodedata

import pytest
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st

from korseq.data.tagged import in_units
from korseq.spans import LabeledSpan, UnitKind, from_tags, to_tags
from korseq.text import Analysis, GivenTokens, KiwiTokenizer
from korseq.text.units import units_of

KIWI = KiwiTokenizer()
TEXTS = st.text(
    st.sampled_from("김태웅이 갔다했어요서울에서\n\t👍🏽é12A.,!ㅋㅠ\u1112\u1161\u11ab") | st.characters(), max_size=40
)


def test_syllables_of_a_contraction_belong_to_the_first_morpheme_that_covers_them() -> None:
    analysis = KIWI("서울에 갔다")
    units = units_of(analysis, "syllable")
    assert "".join(units.symbols.forms) == "서울에갔다"
    owners = [analysis.forms[i] for i in units.first]
    assert owners == ["서울", "서울", "에", "가", "다"]
    assert units.symbols.tags == ("NNPB", "NNPE", "JKBS", "VVS", "EFS")
    assert (units.symbols.starts, units.symbols.ends) == ((0, 1, 2, 4, 5), (1, 2, 3, 5, 6))


def test_decomposed_text_has_the_syllables_of_composed_text() -> None:
    text = "김태웅이 갔다"
    composed, decomposed = (units_of(KIWI(t), "syllable") for t in (text, unicodedata.normalize("NFD", text)))
    assert composed.symbols.forms == decomposed.symbols.forms
    spelt = [
        decomposed.symbols.text[s:e] for s, e in zip(decomposed.symbols.starts, decomposed.symbols.ends, strict=True)
    ]
    assert [unicodedata.normalize("NFC", s) for s in spelt] == list(composed.symbols.forms)


@unhurried
@given(TEXTS)
def test_every_visible_character_is_one_syllable(text: str) -> None:
    analysis = KIWI(text)
    units = units_of(analysis, "syllable")
    if len(analysis):
        covered = {i for s, e in zip(units.symbols.starts, units.symbols.ends, strict=True) for i in range(s, e)}
        assert all(i in covered for i, c in enumerate(text) if c.isalnum())
    for field in (units.first, units.last, units.symbols.starts, units.symbols.ends):
        assert list(field) == sorted(field)
    assert all(0 <= f <= t < len(analysis) for f, t in zip(units.first, units.last, strict=True))


@unhurried
@given(TEXTS, st.sampled_from(["token", "piece", "word"]))
def test_units_know_their_tokens(text: str, kind: str) -> None:
    analysis = KIWI(text)
    units = units_of(analysis, kind)  # type: ignore[arg-type]
    assert list(units.first) == sorted(units.first)
    assert all(0 <= f <= t < len(analysis) for f, t in zip(units.first, units.last, strict=True))
    assert units.furthest() == sorted(units.furthest())


@pytest.mark.parametrize(
    ("token", "tag", "pieces"),
    [
        ("서울", "NNP", "서 울"),
        ("김태웅이", "NNP", "김태웅 이"),
        ("서울역", "NNP", "서울 역"),
        ("월레스와 그로밋", "NNP", "월레스 와 그로 밋"),
        ("대왕 세종", "NNP", "대 왕 세 종"),
        ("동엽신ㅋㅋㅋ", "NNG", "동엽신 ㅋㅋ ㅋ"),
        ("Starbucks", "SL", "Starbuck s"),
        ("3월", "NNG", "3 월"),
        ("에서는", "JX", "에서는"),
        ("아름답", "VA", "아름답"),
    ],
)
def test_pieces_begin_where_a_name_may_end(token: str, tag: str, pieces: str) -> None:
    analysis = Analysis(token, (token,), (tag,), (0,), (len(token),))
    assert " ".join(units_of(analysis, "piece").symbols.forms) == pieces


def test_words_are_those_given() -> None:
    analysis = KIWI("현대증권이 올랐다.")
    units = units_of(analysis, "word", [(0, 5), (6, 9), (9, 10)])
    assert units.symbols.forms == ("현대증권이", "올랐다", ".")
    assert units.symbols.tags[1:] == ("VV+EP+EF", "SF")
    assert analysis.forms[units.first[1] : units.last[1] + 1] == ("오르", "었", "다")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("그는 갔다.", ("그는", "갔다", ".")),
        ("“정말?” 물었다…", ("“", "정말", "?", "”", "물었다", "…")),
        ("3.5%로", ("3.5%로",)),
        ("", ()),
    ],
)
def test_words_of_raw_text_are_eojeols_without_the_punctuation_around(text: str, words: tuple[str, ...]) -> None:
    assert units_of(KIWI(text), "word").symbols.forms == words


def test_a_word_in_which_no_token_begins_belongs_to_the_one_before() -> None:
    analysis = Analysis("가나다", ("가나다",), ("NNG",), (0,), (3,))
    units = units_of(analysis, "word", [(0, 1), (1, 3)])
    assert (units.first, units.last) == ([0, 0], [0, 0])


def test_no_tokens_no_units() -> None:
    assert [len(units_of(KIWI(""), kind)) for kind in ("token", "syllable", "word")] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["piece", "syllable"])
@pytest.mark.parametrize("text", ["\t", "\u3000", "\u2028", "\x85"])
def test_tokens_that_nobody_sees_have_no_units(text: str, kind: str) -> None:
    assert len(units_of(GivenTokens()(text), kind)) == 0  # type: ignore[arg-type]


CLUSTERS = [
    *"김태웅제주도갔했에서는이",
    *(unicodedata.normalize("NFD", c) for c in "웅갔é"),
    "👍🏽",
    "👨‍👩‍👧",
    *"12A.“”,ㅋ",
]


@pytest.mark.parametrize("kind", ["piece", "syllable"])
@unhurried
@given(data=st.data())
def test_any_span_of_visible_characters_survives_or_is_counted(kind: UnitKind, data: st.DataObject) -> None:
    """Character spans → units → tags → units → the same character spans, all that count as exact, which with syllables are all;
    also at both ends and over line breaks."""
    text, spans = "", []
    for labelled in data.draw(st.lists(st.booleans(), max_size=8)):
        clusters = data.draw(st.lists(st.sampled_from(CLUSTERS), min_size=1, max_size=4))
        separator = st.sampled_from(["", "", " ", "\n", " \t"])
        start = len(text)
        text += clusters[0] + "".join(data.draw(separator) + cluster for cluster in clusters[1:])
        if labelled:
            spans.append(LabeledSpan(start, len(text), data.draw(st.sampled_from(["PER", "LOC"]))))
        text += data.draw(separator)
    units = units_of(KIWI(text), kind)
    of_units, exact = in_units(spans, units)
    assert exact == len(spans) or kind == "piece"
    for scheme in ("BIO", "BIOES"):
        read = from_tags(to_tags(of_units, len(units), scheme))  # type: ignore[arg-type]
        places = [(units.symbols.starts[s], max(units.symbols.ends[s:e]), label) for s, e, label in read]
        assert len(set(places) & set(spans)) == exact
