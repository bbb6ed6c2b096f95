"""From the tags of units back to the text: entities, and words with their parts of speech."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from unicodedata import normalize

import numpy as np

from korseq.data.encoded import EncodedUnits
from korseq.heads.tagger import Tagger, Tags
from korseq.text.alignment import Analysis
from korseq.text.units import Units
from korseq.text.vocabulary import Vocabulary


class _Record:
    """Its fields, for JSON."""

    __slots__: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


_T = TypeVar("_T", bound=_Record)


@dataclass(frozen=True, slots=True)
class _OfText(Sequence[_T]):
    """What was found in a text, in order; a sequence of it."""

    text: str
    found: tuple[_T, ...]

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: Any) -> Any:
        return self.found[index]


@dataclass(frozen=True, slots=True)
class Entity(_Record):
    """A labelled span of a text.

    Attributes:
        text: As it stands in the given text.
        label: What it is.
        start, end: Characters of the given text, the end exclusive.
        score: The probability of its least certain tag, or that it does not go on where that is lower, given the text.
        particle: The particles that follow it in the same word: 이 in 김태웅이, 에서는 in 서울에서는; empty if there are none.
    """

    text: str
    label: str
    start: int
    end: int
    score: float
    particle: str


class Entities(_OfText[Entity]):
    """The entities of one text, in order."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        return {"entities": [entity.as_dict() for entity in self]}


@dataclass(frozen=True, slots=True)
class Word(_Record):
    """A word and its part of speech.

    Attributes:
        text: As it stands in the given text.
        tag: Its part of speech.
        start, end: Characters of the given text, the end exclusive.
        score: The probability of the tag.
        morphemes: The tokens that begin in it, or else the one that it is part of: form and tag (Kiwi's own) of each.
        known: Whether the word stood in the training data.
    """

    text: str
    tag: str
    start: int
    end: int
    score: float
    morphemes: tuple[tuple[str, str], ...]
    known: bool


class Words(_OfText[Word]):
    """The words of one text, in order."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        return {"words": [word.as_dict() for word in self]}


def merged(answers: Sequence[Tags], data: EncodedUnits, texts: int) -> list[Tags]:
    """One answer a text out of those of its windows, each of which counts for the units that it owns."""
    pieces: list[list[Tags]] = [[] for _ in range(texts)]
    for text, (start, stop), tags in zip(data.texts.tolist(), data.owned.tolist(), answers, strict=True):
        whole = start == 0 and stop == len(tags.indices)
        pieces[text].append(tags if whole else Tags(tags.indices[start:stop], tags.scores[start:stop], tags.label_set))
    return [
        of_text[0]
        if len(of_text) == 1
        else Tags(
            np.concatenate([tags.indices for tags in of_text]),
            np.concatenate([tags.scores for tags in of_text]),
            of_text[0].label_set,
        )
        for of_text in pieces
    ]


def entities(head: Tagger, analysis: Analysis, units: Units, tags: Tags) -> Entities:
    """The entities that the tags of a text's units spell."""
    if not tags.indices.any():  # O has index 0, and most texts have no other
        return Entities(analysis.text, ())
    text, starts, ends = analysis.text, units.symbols.starts, units.symbols.ends
    found: list[Entity] = []
    for (first, stop, label), score in head.read(tags):
        start, end = starts[first], max(ends[first:stop])
        if start < end and (not found or found[-1].end <= start):  # tokens may have no length, or share a character
            found.append(Entity(text[start:end], label, start, end, score, _particle(analysis, end)))
    return Entities(text, tuple(found))


# Particles as they are written, for names that the analyzer has never seen and takes for one word with their particle.
_PARTICLE = re.compile(
    "(?:이|가|은|는|을|를|의|에|도|만|과|와|로|으로|에서|에게|한테|께|께서|부터|까지|이나|나|이란|란|이랑|랑|보다|처럼|마다|조차|밖에|야|아|여)"
    "(?:는|도|만|의)?"
)


def _particle(analysis: Analysis, place: int) -> str:
    """The surface of the particles that stand one after the other from `place` on."""
    end = place
    first = bisect_left(analysis.starts, place)
    before = analysis.ends[first - 1] if first else place
    if before > place and _PARTICLE.fullmatch(normalize("NFC", analysis.text[place:before])):
        end = before  # 이 in the "name" 김태웅이
    for i in range(first, len(analysis)):
        if analysis.starts[i] > end or not analysis.tags[i].startswith("J"):
            break
        end = max(end, analysis.ends[i])
    return analysis.text[place:end]


def words(head: Tagger, analysis: Analysis, units: Units, tags: Tags, known: Vocabulary) -> Words:
    """The words of a text with their tags."""
    text, symbols = analysis.text, units.symbols
    found = []
    for i, (span, score) in enumerate(head.read(tags)):
        start, end = symbols.starts[i], symbols.ends[i]
        inside = slice(units.first[i], units.last[i] + 1)
        morphemes = tuple(zip(analysis.forms[inside], analysis.tags[inside], strict=True))
        found.append(Word(text[start:end], span.label, start, end, score, morphemes, symbols.forms[i] in known))
    return Words(text, tuple(found))
