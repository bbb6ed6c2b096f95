"""Noise: Korean texts as careless people and programs write them.

Noise is a list of edits, which tell what becomes of every place in a text. To add a kind: a function from a text and a generator
of random numbers to edits, in order and without overlap, its name in `NoiseKind`, and its line in `NOISES`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, takewhile
from random import Random
from typing import Literal, NamedTuple, TypeAlias
from unicodedata import normalize

from korseq.text.tokenizers import KiwiTokenizer

# Of what a kind of noise could change, the share that it does.
_SHARE = 0.2

_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s+")
# An edit of a longer word is looked for in its end, where Kiwi's time does not run away.
_LONGEST = 12
_FIRST, _LAST = ord("가"), ord("힣")
_VOWELS, _FINALS, _SILENT = 21, 28, 11  # of Hangul syllables (Unicode Standard, 3.12); ㅇ is the initial that is silent
# Particles that a careless writer takes for each other; of each form those that fit the same end of a word.
_PARTICLES = {"이": "은을", "은": "이을", "을": "은이", "가": "는를", "는": "가를", "를": "는가"}
_PARTICLE_TAGS = {"JKS", "JKO", "JX"}


class Edit(NamedTuple):
    """`[start, end)` of a text, and what takes its place."""

    start: int
    end: int
    text: str


Noise: TypeAlias = Callable[[str, Random], list[Edit]]
NoiseKind: TypeAlias = Literal["spaces", "typos", "nfd", "laughter", "lengthening", "particles"]


def no_spaces(text: str, random: Random) -> list[Edit]:
    """All white space left out."""
    return [Edit(*space.span(), "") for space in _SPACE.finditer(text)]


def typos(text: str, random: Random) -> list[Edit]:
    """Misspellings of a fifth of the words, as far as they have any: letters that sound or look alike, out of Kiwi's list of
    what people confuse (좋았다 → 좋앗다)."""
    from kiwipiepy import basic_typos

    edits = []
    for start, end in _some_words(text, random):
        start = max(start, end - _LONGEST)
        found = sorted(form for form, cost in basic_typos.generate(text[start:end], 1.0) if cost > 0)
        if found:
            edits.append(_smallest(text, Edit(start, end, random.choice(found))))
    return edits


def _smallest(text: str, edit: Edit) -> Edit:
    """The same edit without what it leaves as it is at both of its ends."""
    old = text[edit.start : edit.end]
    first = _shared(old, edit.text)
    last = _shared(old[first:][::-1], edit.text[first:][::-1])
    return Edit(edit.start + first, edit.end - last, edit.text[first : len(edit.text) - last])


def _shared(one: str, other: str) -> int:
    """With how many equal characters two strings begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def decomposed(text: str, random: Random) -> list[Edit]:
    """Canonical decomposition (NFD), as file names from a Mac have it."""
    changed = ((i, normalize("NFD", character)) for i, character in enumerate(text))
    return [Edit(i, i + 1, letters) for i, letters in changed if letters != text[i]]


def laughter(text: str, random: Random) -> list[Edit]:
    """ㅋㅋ to ㅋㅋㅋㅋ after a fifth of the words, without a space."""
    return [Edit(end, end, "ㅋ" * random.randint(2, 4)) for _, end in _some_words(text, random)]


def lengthened(text: str, random: Random) -> list[Edit]:
    """The vowel that a word ends with drawn out, of a fifth of them, as far as they end with one: 재밌다 → 재밌다아아."""
    edits = []
    for _, end in _some_words(text, random):
        place = ord(text[end - 1]) - _FIRST
        if 0 <= place <= _LAST - _FIRST and place % _FINALS == 0:
            vowel = chr(_FIRST + _SILENT * _VOWELS * _FINALS + place % (_VOWELS * _FINALS))
            edits.append(Edit(end, end, vowel * random.randint(1, 3)))
    return edits


def particles(text: str, random: Random) -> list[Edit]:
    """Half of the particles of subjects, topics and objects taken for each other: 영화는 → 영화가."""
    analysis = KiwiTokenizer()(text)
    found = zip(analysis.forms, analysis.tags, analysis.starts, analysis.ends, strict=True)
    return [
        Edit(start, end, random.choice(_PARTICLES[form]))
        for form, tag, start, end in found
        if tag in _PARTICLE_TAGS and form in _PARTICLES and text[start:end] == form and random.random() < 0.5
    ]


NOISES: Mapping[NoiseKind, Noise] = {
    "spaces": no_spaces,
    "typos": typos,
    "nfd": decomposed,
    "laughter": laughter,
    "lengthening": lengthened,
    "particles": particles,
}


def edits_of(text: str, kind: NoiseKind, seed: int = 0) -> list[Edit]:
    """Noise of a kind; what is drawn depends on the text, the kind and the seed alone."""
    return NOISES[kind](text, Random(f"{seed} {kind} {text}".encode("utf-8", "surrogatepass")))


def edited(text: str, edits: Sequence[Edit]) -> str:
    """The text with its edits made."""
    parts, done = [], 0
    for start, end, new in edits:
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


def moved(spans: Sequence[tuple[int, int]], edits: Sequence[Edit]) -> list[tuple[int, int]]:
    """Where the characters `[start, end)` of spans are after the edits, none of which may reach over an end of a span. What is
    put in at either end of a span is not part of it."""
    starts, ends = [edit.start for edit in edits], [edit.end for edit in edits]
    growth = [0, *accumulate(len(edit.text) - (edit.end - edit.start) for edit in edits)]
    return [(s + growth[bisect_right(ends, s)], e + growth[bisect_left(starts, e)]) for s, e in spans]


def inside(edits: Iterable[Edit], spans: Iterable[tuple[int, int]]) -> list[Edit]:
    """The edits that reach over no end of a span."""
    borders = sorted(place for span in spans for place in span)
    return [edit for edit in edits if bisect_right(borders, edit.start) >= bisect_left(borders, edit.end)]


def _some_words(text: str, random: Random) -> list[tuple[int, int]]:
    return [word.span() for word in _WORD.finditer(text) if random.random() < _SHARE]
