"""N-grams of words, one by one and all at once."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from korseq.text import Vocabulary
from korseq.text.ngrams import NGramTable, ngrams


def test_ngrams_mark_the_boundaries_of_a_word() -> None:
    assert ngrams("영화") == ["<", "영", "화", ">", "<영", "영화", "화>", "<영화", "영화>"]
    assert ngrams("") == ["<", ">", "<>"]


def test_lengthened_words_have_the_ngrams_of_three_repetitions() -> None:
    assert ngrams("ㅋㅋㅋㅋㅋㅋㅋㅋ") == ngrams("ㅋㅋㅋㅋ") == ngrams("ㅋㅋㅋ") != ngrams("ㅋㅋ")


def test_an_endless_word_has_boundedly_many_ngrams() -> None:
    assert len(ngrams("가나다라" * 250_000)) < 100


words = st.lists(st.text(st.sampled_from("영화가재밌ㅋ😀ab<>"), max_size=30), min_size=1, max_size=30)


@given(words, st.integers(1, 3))
def test_a_table_finds_what_the_vocabulary_finds(texts: list[str], min_count: int) -> None:
    vocabulary = Vocabulary.build(Counter(gram for text in texts for gram in ngrams(text)), min_count)
    asked = [*texts, "모르는낱말", ""]
    ids, offsets = NGramTable(vocabulary).look_up(asked)
    found = [ids[a:b].tolist() for a, b in pairwise(offsets)]
    assert found == [vocabulary.ids(ngrams(text)) for text in asked]


def test_an_empty_vocabulary_knows_nothing() -> None:
    ids, offsets = NGramTable(Vocabulary()).look_up(["영화"])
    assert ids.tolist() == [1] * 9
    assert offsets.tolist() == [0, 9]
