"""The list of names that comes with korseq, and how tokens are marked with it."""

from __future__ import annotations

import hashlib
import re
from unicodedata import normalize

import pytest

from korseq.text import Analysis, KiwiTokenizer, WhitespaceTokenizer
from korseq.text.names import known_names, name_marks


def analysis_of(*tokens: str) -> Analysis:
    """Tokens that follow each other; one that begins with a space is another word."""
    text = "".join(tokens)
    ends = [sum(map(len, tokens[: i + 1])) for i in range(len(tokens))]
    starts = [end - len(token.strip()) for end, token in zip(ends, tokens, strict=True)]
    return Analysis(text, tuple(t.strip() for t in tokens), ("NNP",) * len(tokens), tuple(starts), tuple(ends))


def test_the_list_is_the_one_that_saved_pipelines_have_learnt_from() -> None:
    """Another list would answer them otherwise without a word; give it to another feature."""
    digest = hashlib.sha256("\n".join(f"{name} {kinds}" for name, kinds in known_names().items()).encode())
    assert digest.hexdigest() == "7d570d07835285d0793e949bb0a36a2f46997afb4ec931c55363ab372f775b20"


def test_the_list_has_names_of_all_kinds() -> None:
    names = known_names()
    assert len(names) == 385_100
    assert all(re.fullmatch("[가-힣]{2,17}", name) for name in names)
    assert {letter for kinds in set(names.values()) for letter in kinds} == set("PLFOplfo")
    assert [names[name] for name in ("이순신", "강원도", "올림픽", "이번", "정선")] == ["P", "L", "O", "p", "lp"]


@pytest.mark.parametrize(
    ("tokens", "marks"),
    [
        (["이순신", "은"], ["SP3", "O"]),
        (["이순", "신", "은"], ["BP3", "EP3", "O"]),
        (["김", "연", "아", "는"], ["BP3", "IP3", "EP3", "O"]),
        (["이", " 순신"], ["O", "O"]),  # of two words
        (["이순신도"], ["XP"]),
        (["강원", "도", "에"], ["BL3", "EL3", "O"]),  # not 강원, which is shorter
        (["레오나르도", "다", "빈", "치"], ["BP4", "IP4", "IP4", "EP4"]),
        (["이번", " 2026", "년"], ["Sp2", "O", "O"]),
    ],
)
def test_tokens_are_marked_with_the_longest_name_that_begins_there(tokens: list[str], marks: list[str]) -> None:
    assert name_marks(analysis_of(*tokens)) == marks


def test_contracted_tokens_are_no_name() -> None:
    assert known_names()["가지"] == "lp"
    assert name_marks(Analysis("갖", ("가", "지"), ("VV", "EC"), (0, 0), (1, 1))) == ["O", "O"]


def test_decomposed_text_has_the_same_marks() -> None:
    text, tokenizer = "김연아는 강릉에서 태어난 세종대왕을 좋아한다", KiwiTokenizer()
    marks = name_marks(tokenizer(text))
    assert "SP3" in marks
    assert name_marks(tokenizer(normalize("NFD", text))) == marks


@pytest.mark.parametrize("text", ["", " \u200b\n", "😀 \ud800 \x00", "가" * 1_000_000, "이순신" * 30_000, "ㅋ" * 1000])
def test_there_is_one_mark_a_token_whatever_the_text(text: str) -> None:
    analysis = WhitespaceTokenizer()(text)
    assert len(name_marks(analysis)) == len(analysis)
