"""Analysed text: tokens with exact offsets, and the one object that relates characters, tokens and eojeols."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

_EOJEOL = re.compile(r"\S+")


class Token(NamedTuple):
    """One token. `start` and `end` count characters of the given text; a contraction's tokens overlap (갔 = 가 + 았)."""

    form: str
    tag: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysed text, stored by column: training and prediction read columns and need no token objects.

    Attributes:
        text: The string that was given, before any cleaning.
        forms: Surface or dictionary forms, one a token.
        tags: Part-of-speech tags, one a token; empty strings where the tokenizer has none.
        starts: First character of each token in `text`.
        ends: One past the last character of each token in `text`.
    """

    text: str
    forms: tuple[str, ...]
    tags: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.forms)

    @property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(map(Token._make, zip(self.forms, self.tags, self.starts, self.ends, strict=True)))

    @property
    def alignment(self) -> Alignment:
        return Alignment(self.text, self.starts, self.ends)


class Span(NamedTuple):
    """A half-open range, of characters or of tokens: `[start, end)`."""

    start: int
    end: int


class Alignment:
    """Characters ↔ tokens ↔ eojeols (whitespace words) of one text.

    Tokens may overlap (갔 is 가 and 았, both on one character), have no length (a dropped copula), leave characters
    uncovered (spaces) and cross an eojeol boundary. Token starts never decrease.

    Args:
        text: The text that all offsets count in.
        starts, ends: One a token, in characters.

    Raises:
        ValueError: If an offset lies outside the text, or starts decrease.
    """

    def __init__(self, text: str, starts: Sequence[int], ends: Sequence[int]) -> None:
        if any(not 0 <= s <= e <= len(text) for s, e in zip(starts, ends, strict=True)):
            raise ValueError("token offsets must lie inside the text")
        if any(a > b for a, b in pairwise(starts)):
            raise ValueError("token starts must not decrease")
        self.text, self.starts, self.ends = text, tuple(starts), tuple(ends)

    @cached_property
    def eojeols(self) -> tuple[Span, ...]:
        """Character spans of the whitespace-separated words."""
        return tuple(Span(*m.span()) for m in _EOJEOL.finditer(self.text))

    @cached_property
    def _eojeol_starts(self) -> list[int]:
        return [span.start for span in self.eojeols]

    @cached_property
    def _furthest_ends(self) -> list[int]:
        """The largest end among tokens 0..i: never decreases, so that overlaps can be searched by bisection."""
        furthest, ends = 0, []
        for end in self.ends:
            furthest = max(furthest, end)
            ends.append(furthest)
        return ends

    def tokens_in(self, start: int, end: int) -> tuple[int, ...]:
        """Indices of the tokens that share a character with `[start, end)`, or have no length and lie in it.

        A token without length at `end` is not inside, one at `start` is; an empty range holds only those at `start`.
        """
        stop = max(end, start + 1)  # a token without length at `start` is inside even an empty range
        found = []
        for i in range(bisect_left(self._furthest_ends, start), bisect_left(self.starts, stop)):
            s, e = self.starts[i], self.ends[i]
            if s >= start if s == e else s < end and e > start and start < end:
                found.append(i)
        return tuple(found)

    def characters_of(self, first: int, last: int) -> Span:
        """The character span covered by the tokens `[first, last)`; their order does not matter to overlaps.

        Raises:
            IndexError: If the range of tokens is empty or outside the text's.
        """
        if not 0 <= first < last <= len(self.starts):
            raise IndexError(f"no tokens [{first}, {last}) among {len(self.starts)}")
        return Span(self.starts[first], max(self.ends[first:last]))

    def boundaries(self) -> frozenset[int]:
        """Characters at which some token begins or ends."""
        return frozenset(self.starts) | frozenset(self.ends)

    def eojeol_at(self, character: int) -> int | None:
        """Index of the eojeol that holds a character; None for a space or a place outside the text."""
        i = bisect_right(self._eojeol_starts, character) - 1
        return i if i >= 0 and character < self.eojeols[i].end else None

    def eojeol_of(self, token: int) -> int | None:
        """Index of the eojeol that a token begins in; one without length after the last character belongs to the word it ends."""
        start = self.starts[token]
        at = self.eojeol_at(start)
        return self.eojeol_at(start - 1) if at is None and start and self.ends[token] == start else at

    @cached_property
    def tokens_by_eojeol(self) -> tuple[tuple[int, ...], ...]:
        """For each eojeol, the indices of the tokens that begin in it. Tokens on whitespace alone belong to none."""
        groups: list[list[int]] = [[] for _ in self.eojeols]
        for token in range(len(self.starts)):
            eojeol = self.eojeol_of(token)
            if eojeol is not None:
                groups[eojeol].append(token)
        return tuple(map(tuple, groups))
