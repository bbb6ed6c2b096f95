"""Characters of words: the table finds what the function lists, many words at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from korseq.text import Vocabulary
from korseq.text.characters import CharacterTable, jamo, syllables
from korseq.text.features import FEATURES

WORDS = st.lists(
    st.text(st.sampled_from("가나다김태웅ab1👍🏽.") | st.characters(), max_size=30), min_size=1, max_size=8
)


def test_syllables_and_their_letters() -> None:
    assert syllables("한국") == ["한", "국"]
    assert jamo("한국") == ["ᄒ", "ᅡ", "ᆫ", "ᄀ", "ᅮ", "ᆨ"]
    assert len(syllables("가" * 100)) == 24


@pytest.mark.parametrize(("letters", "parts"), [(False, syllables), (True, jamo)])
@given(words=WORDS)
def test_the_table_finds_what_the_function_lists(letters: bool, parts, words: list[str]) -> None:
    listed = sorted({part for word in words[::2] for part in parts(word)})
    vocabulary = Vocabulary(listed)
    ids, offsets = CharacterTable(vocabulary, letters).look_up(words)
    assert offsets[0] == 0
    for i, word in enumerate(words):
        assert ids[offsets[i] : offsets[i + 1]].tolist() == vocabulary.ids(parts(word))


def test_a_morpheme_without_a_vector_reads_as_its_tag() -> None:
    vocabulary = Vocabulary(["가/VV", "/VV", "/NNP"])
    assert FEATURES["kiwi"].ids(vocabulary)(["가/VV", "캌/VV-I", "김태웅/NNP", "?/XX"]) == [4, 5, 6, 1]
    assert FEATURES["morpheme"].ids(vocabulary)(["캌/VV"]) == [1]
