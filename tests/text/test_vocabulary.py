"""Vocabularies: specials, order, growth, and no forged padding."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.specials import BOS, EOS, PAD, SPECIALS, UNK
from korseq.text import Vocabulary

COUNTS = Counter({"영화": 5, "나": 2, "가": 2, "다": 2, "드문": 1})


def test_specials_come_first() -> None:
    vocabulary = Vocabulary(["가"])
    assert [vocabulary.token(i) for i in (PAD, UNK, BOS, EOS, 4)] == ["<pad>", "<unk>", "<bos>", "<eos>", "가"]
    assert (PAD, UNK, BOS, EOS) == (0, 1, 2, 3)
    assert len(Vocabulary()) == 4


def test_unknown_tokens_read_as_unk() -> None:
    assert Vocabulary(["가"]).ids(["가", "없음", "가"]) == [4, UNK, 4]


@pytest.mark.parametrize("special", SPECIALS)
def test_text_cannot_forge_specials(special: str) -> None:
    vocabulary = Vocabulary.build(Counter({special: 9, "가": 1}))
    assert vocabulary.tokens == ("가",)
    assert vocabulary.ids([special]) == [UNK]
    assert special not in vocabulary


def test_frequent_tokens_come_first_and_ties_by_spelling() -> None:
    assert Vocabulary.build(COUNTS).tokens == ("영화", "가", "나", "다", "드문")
    assert Vocabulary.build(Counter(dict(reversed(COUNTS.items())))) == Vocabulary.build(COUNTS)


def test_rare_tokens_are_left_out() -> None:
    assert Vocabulary.build(COUNTS, min_count=2).tokens == ("영화", "가", "나", "다")


@pytest.mark.parametrize(("max_size", "size"), [(6, 6), (100, 9), (4, 4), (1, 4)])
def test_the_greatest_size_counts_the_specials(max_size: int, size: int) -> None:
    assert len(Vocabulary.build(COUNTS, max_size=max_size)) == size


@pytest.mark.parametrize("tokens", [["가", "가"], ["<pad>"], ["가", "<eos>"]])
def test_a_token_cannot_stand_twice(tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="stands twice"):
        Vocabulary(tokens)


def test_an_extended_vocabulary_keeps_its_ids() -> None:
    old, new = Vocabulary(["가", "나"]), Vocabulary(["다", "나", "라"])
    assert old.extended(new).tokens == ("가", "나", "다", "라")
    assert old.tokens == ("가", "나")


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_ids_and_tokens_are_inverse(first: list[str], second: list[str]) -> None:
    vocabulary = Vocabulary.build(Counter(first)).extended(Vocabulary.build(Counter(second)))
    assert set(vocabulary.tokens) == set(first + second) - set(SPECIALS)
    assert [vocabulary.token(i) for i in vocabulary.ids(vocabulary.tokens)] == list(vocabulary.tokens)
    assert Vocabulary(vocabulary.tokens) == vocabulary
    assert hash(Vocabulary(vocabulary.tokens)) == hash(vocabulary)
