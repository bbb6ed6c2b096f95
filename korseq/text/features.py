"""What of a token an embedding stage reads.

A feature is either one symbol a token (its form, its tag, …), or parts: a sequence of smaller units (the n-grams of the
eojeol it stands in). Parts depend on a key that many tokens share, so that they are computed once for each key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from korseq.text.alignment import Analysis
from korseq.text.clean import clean

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Feature:
    """A feature of tokens.

    Attributes:
        symbols: From an analysis to one string a token: what the vocabulary lists or, if there are parts, their key.
        parts: From a key to its parts, which the vocabulary then lists; None for a feature without parts.
    """

    symbols: Callable[[Analysis], Sequence[str]]
    parts: Callable[[str], list[str]] | None = None


def morphemes(analysis: Analysis) -> Sequence[str]:
    """Form and tag together: 이/JKS (particle) and 이/NR (two) are different words."""
    return [f"{form}/{tag}" for form, tag in zip(analysis.forms, analysis.tags, strict=True)]


def eojeols(analysis: Analysis) -> Sequence[str]:
    """The whitespace word that each token begins in, cleaned, so that decomposed text has the words of composed text."""
    words = [(match.end(), clean(match[0]).text) for match in _WORD.finditer(analysis.text)]
    found: list[str] = []
    place = 0
    for start in analysis.starts:  # starts never decrease
        while place + 1 < len(words) and words[place][0] <= start:
            place += 1
        found.append(words[place][1] if words else "")
    return found


# Longer words are cut: beyond this, parts of one word would outweigh those of a whole text.
_LONGEST_WORD = 24


def ngrams(word: str) -> list[str]:
    """All runs of one to three syllables of a word, with its boundaries marked: 영화 → < 영 화 > <영 영화 화> <영화 영화>."""
    marked = f"<{word[:_LONGEST_WORD]}>"
    return [marked[i : i + n] for n in (1, 2, 3) for i in range(len(marked) - n + 1)]


FEATURES: dict[str, Feature] = {
    "morpheme": Feature(morphemes),
    "form": Feature(lambda analysis: analysis.forms),
    "tag": Feature(lambda analysis: analysis.tags),
    "eojeol": Feature(eojeols),
    "eojeol_ngrams": Feature(eojeols, ngrams),
}
