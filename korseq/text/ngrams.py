"""Character n-grams of words, one by one and, much faster, of many words at once."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from korseq.specials import SPECIALS, UNK
from korseq.text.vocabulary import Vocabulary

_LONGEST_N = 3
# Longer words are cut: beyond this, the n-grams of one word would outweigh those of a whole text.
_LONGEST_WORD = 24
# A code point has 21 bits, so that three of them fit in one 64-bit integer: n-grams are looked up as integers, exactly.
_SHIFTS = np.arange(_LONGEST_N, dtype=np.uint64) * np.uint64(21)
_LENGTHENED = re.compile(r"(.)\1{3,}")


def ngrams(word: str) -> list[str]:
    """All runs of one to three characters of a word, with its boundaries marked: 영화 → < 영 화 > <영 영화 화> <영화 영화>.

    A character typed four times or more counts as three: ㅋㅋㅋㅋㅋㅋ is ㅋㅋㅋ.
    """
    marked = _marked(word)
    return [marked[i : i + n] for n in range(1, _LONGEST_N + 1) for i in range(len(marked) - n + 1)]


def _marked(word: str) -> str:
    if len(word) - len(set(word)) >= 3:  # else no character stands there four times; cheaper than the pattern
        word = _LENGTHENED.sub(r"\1\1\1", word)
    return f"<{word[:_LONGEST_WORD]}>"


class NGramTable:
    """Ids of all n-grams of many words, without Python work per n-gram."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        points = np.array(vocabulary.tokens, dtype=f"U{_LONGEST_N}").view(np.uint32).reshape(-1, _LONGEST_N)
        codes = np.bitwise_or.reduce(points.astype(np.uint64) << _SHIFTS, axis=1)
        order = np.argsort(codes)
        # A sentinel that is no code, so that the place after the last one can be asked for.
        self._codes = np.append(codes[order], np.uint64(2**64 - 1))
        self._ids = np.append(order + len(SPECIALS), UNK).astype(np.int32)

    def look_up(self, words: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """For each word the ids of `ngrams(word)`, in that order, end to end; and where each word's begin: (words + 1,)."""
        marked = [_marked(word) for word in words]
        points = np.frombuffer("".join(marked).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
        lengths = np.fromiter(map(len, marked), dtype=np.int64, count=len(marked))
        word_of = np.repeat(np.arange(len(marked)), lengths)
        codes, owners = [], []
        code = np.zeros(len(points), dtype=np.uint64)
        for n in range(_LONGEST_N):
            # code[i] becomes the code of the n-gram of n + 1 characters that begins at i; one that leaves its word is dropped.
            inside = len(points) - n
            code = code[:inside] | (points[n:] << _SHIFTS[n])
            whole = word_of[:inside] == word_of[n:]
            codes.append(code[whole])
            owners.append(word_of[:inside][whole])
        found = self._find(np.concatenate(codes))
        ids = found[np.argsort(np.concatenate(owners), kind="stable")]
        counts = sum(np.maximum(lengths - n, 0) for n in range(_LONGEST_N))
        return ids, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def _find(self, codes: NDArray[np.uint64]) -> NDArray[np.int32]:
        order = np.argsort(codes)  # searching in ascending order walks through memory instead of jumping: half the time
        ascending = codes[order]
        place = np.searchsorted(self._codes, ascending)
        ids = np.empty(len(codes), np.int32)
        ids[order] = np.where(self._codes[place] == ascending, self._ids[place], UNK)
        return ids
