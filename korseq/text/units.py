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
from itertools import accumulate

from korseq.spans import UnitKind
from korseq.text.alignment import Analysis
from korseq.text.clean import clean

# Tags of nouns, pronouns, numerals, roots and foreign words.
_NOMINAL = ("N", "XR", "SL")

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
            nominal (which may be a particle or a suffix), between digits and what is none, around punctuation.
            "word": `words`, each with all tokens that begin in it.
        words: Character spans in order, without overlap; None for the words of the raw text: eojeols, where punctuation
            marks around them are words of their own.
    """
    if not len(analysis):
        return Units(Analysis(analysis.text, (), (), (), ()), (), ())
    if kind == "token":
        return Units(analysis, range(len(analysis)), range(len(analysis)))
    if kind == "syllable":
        return _syllables(analysis)
    if kind == "piece":
        return _pieces(_syllables(analysis), analysis)
    return _words(analysis, _raw_words(analysis.text) if words is None else words)


def _syllables(analysis: Analysis) -> Units:
    text, starts, ends, tags = analysis.text, analysis.starts, analysis.ends, analysis.tags
    characters = _characters(text)
    forms: list[str] = []
    places: list[str] = []
    owners: list[int] = []
    spans: list[tuple[int, int]] = []
    token, count, furthest = 0, len(analysis), ends[0]
    for start, end, character in characters:
        # The first token that reaches beyond this character's start; a character that no token covers stays with the one before.
        while furthest <= start and token + 1 < count and starts[token + 1] <= start:
            token += 1
            furthest = max(furthest, ends[token])
        # A token that overlaps the one before (았 in 갔) or has no length owns no character.
        forms.append(character)
        begins, finishes = start <= starts[token], end >= ends[token]
        places.append(f"{tags[token]}{'S' if begins and finishes else 'B' if begins else 'E' if finishes else 'I'}")
        owners.append(token)
        spans.append((start, end))
    symbols = Analysis(text, tuple(forms), tuple(places), tuple(s for s, _ in spans), tuple(e for _, e in spans))
    return Units(symbols, owners, owners)


def _pieces(syllables: Units, analysis: Analysis) -> Units:
    symbols, owners = syllables.symbols, syllables.first
    forms, tags = symbols.forms, analysis.tags
    count = len(owners)
    begins = [
        i
        for i in range(count)
        if not i
        or owners[i] != owners[i - 1]
        or (tags[owners[i]].startswith(_NOMINAL) and (i + 1 == count or owners[i + 1] != owners[i]))
        or not (forms[i].isalnum() and forms[i - 1].isalnum() and forms[i].isdigit() == forms[i - 1].isdigit())
    ]
    stops = [*begins, count][1:]  # a text without visible characters has no units
    joined = Analysis(
        analysis.text,
        tuple("".join(forms[i:j]) for i, j in zip(begins, stops, strict=True)),
        tuple(_place(symbols.tags[i], symbols.tags[j - 1]) for i, j in zip(begins, stops, strict=True)),
        tuple(symbols.starts[i] for i in begins),
        tuple(symbols.ends[j - 1] for j in stops),
    )
    of_pieces = [owners[i] for i in begins]
    return Units(joined, of_pieces, of_pieces)


def _place(first: str, last: str) -> str:
    """The tag of a piece with its place in its token, out of those of its first and last character."""
    begins, ends = first[-1] in "BS", last[-1] in "ES"
    return first[:-1] + ("S" if begins and ends else "B" if begins else "E" if ends else "I")


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
    forms = tuple(clean(text[s:e]).text for s, e in words)
    symbols = Analysis(text, forms, tuple(tags), tuple(s for s, _ in words), tuple(e for _, e in words))
    return Units(symbols, first, last)
