"""Reversible cleaning: text as an analyzer can read it, with a map back to every character of the source.

What changes, and why:

- canonical composition (NFC; Unicode Standard Annex #15): Kiwi reads decomposed Hangul as one unknown noun per word;
- zero-width and other invisible format characters go: they split words into spurious tokens (the joiner inside an emoji stays);
- control characters go; CRLF and a lone CR become LF;
- a lone surrogate (half a UTF-16 pair, never valid text) becomes U+FFFD: as it is, it kills a whole batch in Kiwi.
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from unicodedata import combining, is_normalized, normalize

# C0 and C1 controls (not tab, line feed), soft hyphen, zero-width, directional marks, BOM, variation selector 15, surrogates.
_INVISIBLE = "\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufe0e"
_SUSPECT = re.compile(f"[{_INVISIBLE}\ud800-\udfff]")
_JOINER = "\u200d"
# Text parts that normalisation may change; a longer run of combining marks than this is cut (UAX #15, Stream-Safe Text: 30).
_MAX_SEGMENT = 32


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
    if not _SUSPECT.search(text) and is_normalized("NFC", text):
        return CleanText(text, text)
    pieces: list[str] = []
    starts, ends = array("q"), array("q")
    for start, end in _segments(text):
        piece = _visible(text, start, end)
        pieces.append(piece)
        starts.extend([start] * len(piece))
        ends.extend([end] * len(piece))
    return CleanText(text, "".join(pieces), starts, ends)


def _visible(text: str, start: int, end: int) -> str:
    """The cleaned form of one segment; empty if the segment is invisible."""
    segment = text[start:end]
    if end - start == 1 and _SUSPECT.match(segment):
        if "\ud800" <= segment <= "\udfff":
            return "\ufffd"
        if segment == "\r":
            return "" if text[end : end + 1] == "\n" else "\n"
        # A joiner between two non-letters holds an emoji sequence together (family, flag); elsewhere it is noise.
        if segment == _JOINER and start and _is_symbol(text[start - 1]) and _is_symbol(text[end : end + 1]):
            return _JOINER
        return ""
    return normalize("NFC", segment)


def _is_symbol(char: str) -> bool:
    return char > "\u2000" and not char.isalnum() and not char.isspace()


def _segments(text: str) -> list[tuple[int, int]]:
    """Cut the text where normalisation cannot reach across: the parts normalise one by one as the whole does."""
    segments: list[tuple[int, int]] = []
    start = 0
    composed = normalize("NFC", text[:1])
    for i in range(1, len(text)):
        char = text[i]
        joins = i - start < _MAX_SEGMENT and not _SUSPECT.match(char) and not _SUSPECT.match(text[i - 1])
        if joins and (combining(char) or char >= "\u0300"):  # nothing below U+0300 composes with what precedes it
            together = normalize("NFC", composed + char)
            if combining(char) or together != composed + normalize("NFC", char):
                composed = together
                continue
        segments.append((start, i))
        start, composed = i, normalize("NFC", char)
    if text:
        segments.append((start, len(text)))
    return segments
