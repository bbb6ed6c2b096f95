"""Reversible cleaning: text as an analyzer can read it, with a map back to every character of the source.

What changes, and why:

- canonical composition (NFC; Unicode Standard Annex #15): Kiwi reads decomposed Hangul as one unknown noun per word;
- zero-width and other invisible format characters go: they split words into spurious tokens (the joiner inside an emoji stays);
- control characters go, but those that are white space (a form feed between pages) become a space: words stay apart;
- CRLF and a lone CR become LF;
- a lone surrogate (half a UTF-16 pair, never valid text) becomes U+FFFD: as it is, it kills a whole batch in Kiwi.

Clean text is valid UTF-8, in NFC, and stays as it is when cleaned again.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from unicodedata import combining, is_normalized, normalize

# C0 and C1 controls (not tab, line feed), soft hyphen, zero-width, directional marks, BOM, variation selector 15, surrogates.
_INVISIBLE = "\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufe0e"
_SUSPECT = re.compile(f"[{_INVISIBLE}\ud800-\udfff]")
_JOINER = "\u200d"
# Segments longer than this have their marks sorted before Python normalises them; see `_composed`.
_FEW = 32


@dataclass(frozen=True, slots=True)
class CleanText:
    """Cleaned text and where each of its characters came from.

    Attributes:
        source: The string that was given.
        text: The cleaned string.
    """

    source: str
    text: str
    _starts: array[int] | None = None  # source start of each cleaned character; None where nothing changed
    _ends: array[int] | None = None

    def to_source(self, start: int, end: int) -> tuple[int, int]:
        """The span of the source that the cleaned span `[start, end)` came from; an empty span stays empty."""
        if self._starts is None or self._ends is None:
            return start, end
        begin = self._starts[start] if start < len(self._starts) else len(self.source)
        return (begin, self._ends[end - 1]) if end > start else (begin, begin)


def clean(text: str) -> CleanText:
    """Clean one text; any `str` is accepted. Linear in the length of the text."""
    visible, places = _visible(text) if _SUSPECT.search(text) else (text, range(len(text)))
    if is_normalized("NFC", visible):
        if visible == text:
            return CleanText(text, text)
        return CleanText(text, visible, array("q", places), array("q", (place + 1 for place in places)))
    pieces: list[str] = []
    starts, ends = array("q"), array("q")
    for start, end in _segments(visible):
        piece = _composed(visible[start:end])
        pieces.append(piece)
        starts.extend([places[start]] * len(piece))
        ends.extend([places[end - 1] + 1] * len(piece))
    return CleanText(text, "".join(pieces), starts, ends)


def _visible(text: str) -> tuple[str, array[int]]:
    """The text without what is invisible, and the place in `text` of each character that is left."""
    kept: list[str] = []
    places = array("q")
    before, joiner = "", -1  # the last character kept; where a joiner stands that may join it to the next
    for start, piece in _cut_at_suspects(text):
        if piece == _JOINER:
            joiner = start if joiner < 0 else joiner
            continue
        # A joiner between two non-letters holds an emoji sequence together (family, flag); elsewhere it is noise.
        if joiner >= 0 and _is_symbol(before) and _is_symbol(piece[0]):
            kept.append(_JOINER)
            places.append(joiner)
        kept.append(piece)
        places.extend(range(start, start + len(piece)))
        before, joiner = piece[-1], -1
    return "".join(kept), places


def _cut_at_suspects(text: str) -> Iterator[tuple[int, str]]:
    """Runs of ordinary characters, joiners, and what stands for other suspects, in order, each with its place."""
    place = 0
    for match in _SUSPECT.finditer(text):
        start, char = match.start(), match[0]
        if place < start:
            yield place, text[place:start]
        place = start + 1
        if char == "\r":
            if text[place : place + 1] != "\n":
                yield start, "\n"
        elif char == _JOINER:
            yield start, _JOINER
        elif "\ud800" <= char <= "\udfff":
            yield start, "\ufffd"
        elif char.isspace():
            yield start, " "
    if place < len(text):
        yield place, text[place:]


def _is_symbol(char: str) -> bool:
    """Whether an emoji sequence may hold the character; never one that normalisation moves or replaces."""
    return (
        char > "\u2000"
        and not char.isalnum()
        and not char.isspace()
        and is_normalized("NFC", char)
        and not _is_mark(char)
    )


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Cut the text where normalisation cannot reach across: the parts normalise one by one as the whole does."""
    start = 0
    composed: str | None = None  # the segment's normal form, if it is known
    for i in range(1, len(text)):
        char = text[i]
        if char >= "\u0300":  # nothing below U+0300 composes with what precedes it
            if _is_mark(char):
                composed = None
                continue
            # Only a starter right before another one composes with it; marks between the two would block that.
            composed = composed or _composed(text[start:i])
            if _compose(composed[-1], char):
                composed = _composed(composed + char)
                continue
        yield start, i
        start, composed = i, None
    if text:
        yield start, len(text)


@lru_cache(1 << 14)
def _is_mark(char: str) -> bool:
    return combining(normalize("NFD", char)[0]) != 0


@lru_cache(1 << 14)
def _compose(first: str, second: str) -> bool:
    """Whether two characters that follow each other, the second no mark, have another normal form than each alone."""
    return normalize("NFC", first + second) != normalize("NFC", first) + normalize("NFC", second)


def _composed(segment: str) -> str:
    """The segment in NFC, in linear time: Python's own sorts marks that are out of order in quadratic time."""
    if len(segment) > _FEW:
        decomposed = "".join(normalize("NFD", char) for char in segment)
        segment = "".join(
            "".join(sorted(run, key=combining)) for _, run in groupby(decomposed, lambda char: combining(char) > 0)
        )
    return normalize("NFC", segment)
