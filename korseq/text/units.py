"""Units: the pieces of a text that a tagger tags, finer or coarser than the tokens that the encoder reads.

A morpheme analyzer does not know where names end: 2% of the entities in Korean corpora begin or end inside a morpheme
(a name it has never seen takes its particle along). Syllables represent them all. Part-of-speech tags, on the other
hand, belong to whole words, which have several morphemes.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from korseq.spans import UnitKind
from korseq.text.alignment import Analysis
from korseq.text.clean import clean

# Tags of nouns, pronouns, numerals, roots and foreign words.
_NOMINAL = ("N", "XR", "SL")

_LONE = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\ud7b0-\ud7ff]")

# What a word of raw text is: an eojeol without the punctuation around it, each mark of which is a word of its own.
_WORD = re.compile(r"\w(?:\S*\w)?|\S")


@dataclass(frozen=True, slots=True)
class Units:
    """The units of one text, in order.

    Attributes:
        symbols: The units as if they were tokens: forms, tags, starts, ends; features of units read this.
        first, last: The tokens that each unit belongs to or is made of, the last included; both never decrease.
    """

    symbols: Analysis
    first: Sequence[int]
    last: Sequence[int]

    def __len__(self) -> int:
        return len(self.first)

    def furthest(self) -> list[int]:
        """The largest end among units 0..i: never decreases, though tokens may overlap."""
        return list(accumulate(self.symbols.ends, max))


def units_of(analysis: Analysis, kind: UnitKind, words: Sequence[tuple[int, int]] | None = None) -> Units:
    """The units of an analysed text; none if it has no tokens.

    Args:
        kind: "token": the tokens. "syllable": all characters but white space, a decomposed one counted once, each with the
            first token that covers it. "piece": tokens, cut where a name may end inside one: before the last character of a
            nominal or of a word in it (which may be a particle or a suffix), between the words of a token, between digits, lone
            letters (ㅋ) and the rest, around punctuation.
            "word": `words`, each with all tokens that begin in it.
        words: Character spans in order, without overlap; None for the words of the raw text: eojeols, where punctuation
            marks around them are words of their own.
    """
    if not len(analysis):
        return Units(Analysis(analysis.text, (), (), (), ()), (), ())
    if kind == "token":
        return Units(analysis, range(len(analysis)), range(len(analysis)))
    if kind in ("syllable", "piece"):
        return _of_characters(analysis, kind == "piece")
    return _words(analysis, _raw_words(analysis.text) if words is None else words)


def _of_characters(analysis: Analysis, pieces: bool) -> Units:
    """Characters, or the pieces that they make; their tags are those of their tokens with their places in them (B, I, E, S)."""
    characters = _characters(analysis.text)
    owners = _owners(analysis, characters)
    count = len(characters)
    begins = _borders(characters, owners, analysis.tags) if pieces else list(range(count))
    stops = [*begins, count][1:]  # a text without visible characters has no units
    of_units = [owners[i] for i in begins]
    starts, ends = [characters[i][0] for i in begins], [characters[j - 1][1] for j in stops]
    tags = [
        analysis.tags[token] + _PLACES[start <= analysis.starts[token], end >= analysis.ends[token]]
        for token, start, end in zip(of_units, starts, ends, strict=True)
    ]
    forms = ["".join(character for _, _, character in characters[i:j]) for i, j in zip(begins, stops, strict=True)]
    return Units(Analysis(analysis.text, tuple(forms), tuple(tags), tuple(starts), tuple(ends)), of_units, of_units)


# Whether a unit begins and whether it ends its token.
_PLACES = {(True, True): "S", (True, False): "B", (False, True): "E", (False, False): "I"}


def _owners(analysis: Analysis, characters: Sequence[tuple[int, int, str]]) -> list[int]:
    """The first token that reaches beyond each character's start; where none covers it, that of the character before.

    A token that overlaps the one before (았 in 갔) or has no length owns no character.
    """
    starts, ends = analysis.starts, analysis.ends
    owners = []
    token, count, furthest = 0, len(analysis), ends[0]
    for start, _, _ in characters:
        while furthest <= start and token + 1 < count and starts[token + 1] <= start:
            token += 1
            furthest = max(furthest, ends[token])
        owners.append(token)
    return owners


def _borders(characters: Sequence[tuple[int, int, str]], owners: Sequence[int], tags: Sequence[str]) -> list[int]:
    """The characters with which pieces begin."""
    count = len(characters)
    # Of each token, the words in it: most have one.
    words = [i for i in range(count) if i == 0 or owners[i] != owners[i - 1] or characters[i][0] > characters[i - 1][1]]
    found = []
    for first, stop in pairwise([*words, count]):
        nominal = tags[owners[first]].startswith(_NOMINAL)
        for i in range(first, stop):
            character, before = characters[i][2], characters[i - 1][2]
            together = character.isalnum() and before.isalnum() and _script(character) == _script(before)
            if i == first or not together or (nominal and i == stop - 1):
                found.append(i)
    return found


def _script(character: str) -> int:
    """0: digits; 1: Hangul letters that make no syllable (ㅋ, ㅠ, and conjoining ones); 2: all else."""
    return 0 if character.isdigit() else 1 if _LONE.match(character) else 2


def _characters(text: str) -> list[tuple[int, int, str]]:
    """The characters of the cleaned text that are no white space, with their places in the text as it was given."""
    cleaned = clean(text)
    if cleaned.text is text:
        return [(i, i + 1, c) for i, c in enumerate(text) if not c.isspace()]
    found: list[tuple[int, int, str]] = []
    for i, character in enumerate(cleaned.text):
        if character.isspace():
            continue
        start, end = cleaned.to_source(i, i + 1)
        if found and found[-1][0] == start:  # one character of the source that became several is one unit
            continue
        found.append((start, end, character))
    return found


def _raw_words(text: str) -> list[tuple[int, int]]:
    """Where the words of the cleaned text stand in the text as it was given."""
    cleaned = clean(text)
    return [cleaned.to_source(*match.span()) for match in _WORD.finditer(cleaned.text)]


def _words(analysis: Analysis, words: Sequence[tuple[int, int]]) -> Units:
    text, starts = analysis.text, analysis.starts
    first, last, tags = [], [], []
    for start, end in words:
        begin = bisect_left(starts, start)
        stop = bisect_left(starts, end)
        if begin == stop:  # no token begins in the word: it belongs to the token before
            begin = max(0, begin - 1)
            stop = begin + 1
        first.append(begin)
        last.append(stop - 1)
        tags.append("+".join(analysis.tags[begin:stop]))
    is_clean = clean(text).text is text
    forms = tuple(text[s:e] if is_clean else clean(text[s:e]).text for s, e in words)
    symbols = Analysis(text, forms, tuple(tags), tuple(s for s, _ in words), tuple(e for _, e in words))
    return Units(symbols, first, last)
