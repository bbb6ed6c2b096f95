"""The characters of words, one by one: Hangul syllables, or the letters (jamo) that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from korseq.specials import SPECIALS, UNK
from korseq.text.vocabulary import Vocabulary

# Longer words are cut: one of a million characters must not widen the batch it stands in.
_LONGEST_WORD = 24


def syllables(word: str) -> list[str]:
    """The characters of a word, at most 24."""
    return list(word[:_LONGEST_WORD])


def jamo(word: str) -> list[str]:
    """The letters of a word's syllables, at most 72: 한국 → ㅎ ㅏ ㄴ ㄱ ㅜ ㄱ (conjoining ones, which know their place)."""
    return list(normalize("NFD", word[:_LONGEST_WORD])[: 3 * _LONGEST_WORD])


class CharacterTable:
    """Ids of the characters of many words, without Python work per character.

    Args:
        vocabulary: Of single characters.
        letters: Whether syllables are taken apart, as by `jamo`.
    """

    def __init__(self, vocabulary: Vocabulary, letters: bool = False) -> None:
        codes = np.array([ord(token) for token in vocabulary.tokens], dtype=np.uint32)
        order = np.argsort(codes)
        # A sentinel that is no code point, so that the place after the last one can be asked for.
        self._codes = np.append(codes[order], np.uint32(2**32 - 1))
        self._ids = np.append(order + len(SPECIALS), UNK).astype(np.int32)
        self._letters = letters

    def look_up(self, words: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The ids of the characters of all words, end to end, and where those of each begin: (words + 1,)."""
        cut = ["".join(jamo(word)) if self._letters else word[:_LONGEST_WORD] for word in words]
        points = np.frombuffer("".join(cut).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        place = np.searchsorted(self._codes, points)
        ids = np.where(self._codes[place] == points, self._ids[place], UNK).astype(np.int32)
        lengths = np.fromiter(map(len, cut), dtype=np.int64, count=len(cut))
        return ids, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
