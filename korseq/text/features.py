"""What of a token an embedding stage reads.

A feature is either one symbol a token (its form, its tag, …), or parts: a sequence of smaller units (the n-grams of the
eojeol it stands in). Parts depend on a key that many tokens share, so that they are computed once for each key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from korseq.text.alignment import Analysis
from korseq.text.characters import CharacterTable, jamo, syllables
from korseq.text.clean import clean
from korseq.text.names import name_marks
from korseq.text.ngrams import NGramTable, ngrams
from korseq.text.vocabulary import Vocabulary

_WORD = re.compile(r"\S+")


class PartsTable(Protocol):
    """Looks up the parts of keys."""

    def look_up(self, words: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The ids of the parts of all keys, end to end, and where those of each begin: (keys + 1,)."""
        ...


@dataclass(frozen=True)
class Feature:
    """A feature of tokens.

    Attributes:
        symbols: From an analysis to one string a token: what the vocabulary lists or, if there are parts, their key.
        parts: From a key to its parts, which the vocabulary then lists; None for a feature without parts.
        table: Looks up the parts of many keys at once, in a vocabulary; there is one exactly if there are parts.
        fallback: From a symbol that the vocabulary does not list to one that stands for it; None for no such thing.
        looks_around: Whether a token's symbol tells of its neighbours, which a language model must not be told.
    """

    symbols: Callable[[Analysis], Sequence[str]]
    parts: Callable[[str], list[str]] | None = None
    table: Callable[[Vocabulary], PartsTable] | None = None
    fallback: Callable[[str], str] | None = None
    looks_around: bool = False

    def ids(self, vocabulary: Vocabulary) -> Callable[[Sequence[str]], list[int]]:
        """The look-up of symbols in a vocabulary."""
        fallback = self.fallback
        if fallback is None:
            return vocabulary.ids
        return lambda symbols: vocabulary.ids([s if s in vocabulary else fallback(s) for s in symbols])


def morphemes(analysis: Analysis) -> Sequence[str]:
    """Form and tag together: 이/JKS (particle) and 이/NR (two) are different words."""
    return [f"{form}/{tag}" for form, tag in zip(analysis.forms, analysis.tags, strict=True)]


def unlisted(morpheme: str) -> str:
    """The token that stands for all morphemes of a tag of which Kiwi has no vector: 김태웅/NNP → /NNP."""
    return "/" + morpheme.rpartition("/")[2].partition("-")[0]


def eojeols(analysis: Analysis) -> Sequence[str]:
    """The whitespace word that each token begins in, cleaned, so that decomposed text has the words of composed text.

    A token without length right after a word belongs to that word, as in `Alignment.eojeol_of`.
    """
    text = analysis.text
    unclean = clean(text).text is not text
    found_words = [(match[0], match.end()) for match in _WORD.finditer(text)]
    words = iter([(clean(word).text, end) for word, end in found_words] if unclean else found_words)
    word, stop = next(words, ("", len(text) + 1))
    found: list[str] = []
    for start, end in zip(analysis.starts, analysis.ends, strict=True):  # starts never decrease
        while start >= stop and not start == stop == end:
            word, stop = next(words, (word, len(text) + 1))
        found.append(word)
    return found


def forms(analysis: Analysis) -> Sequence[str]:
    """Forms as the tokenizer gives them."""
    return analysis.forms


def places(analysis: Analysis) -> Sequence[str]:
    """Where in its eojeol each token begins: B at the beginning, I further on."""
    text = analysis.text
    return ["B" if start == 0 or text[start - 1].isspace() else "I" for start in analysis.starts]


FEATURES: dict[str, Feature] = {
    "morpheme": Feature(morphemes),
    "kiwi": Feature(morphemes, fallback=unlisted),
    "form": Feature(forms),
    "form_syllables": Feature(forms, syllables, CharacterTable),
    "form_jamo": Feature(forms, jamo, partial(CharacterTable, letters=True)),
    "form_ngrams": Feature(forms, ngrams, NGramTable),
    "tag": Feature(lambda analysis: analysis.tags),
    "place": Feature(places),
    "name": Feature(name_marks, looks_around=True),
    "eojeol": Feature(eojeols, looks_around=True),
    "eojeol_ngrams": Feature(eojeols, ngrams, NGramTable, looks_around=True),
}
