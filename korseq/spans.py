"""Labelled spans, and the tags that spell them: IOB2 (Tjong Kim Sang & Veenstra 1999), called BIO here, and BIOES.

Positions are whatever the caller counts: characters, tokens, units of a tagger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

# How tags spell spans; and how they tag units, which may also have a label each.
Scheme: TypeAlias = Literal["BIO", "BIOES"]
TagScheme: TypeAlias = Literal["BIO", "BIOES", "each"]

# What of a text is tagged; `korseq.text.units` makes them.
UnitKind: TypeAlias = Literal["token", "piece", "syllable", "word"]

OUTSIDE = "O"
# In the label of a word: what follows is another tag of it, which is learnt with the first and never told.
AUXILIARY = "\t"


class LabeledSpan(NamedTuple):
    """`[start, end)` and what it is."""

    start: int
    end: int
    label: str


def told(label: str) -> str:
    """What is told of a word's label: all of it but an auxiliary tag."""
    return label.partition(AUXILIARY)[0]


def to_tags(spans: Iterable[LabeledSpan], length: int, scheme: Scheme = "BIO") -> list[str]:
    """One tag a position. The spans must not overlap, nor be empty, nor reach beyond `length`.

    Raises:
        ValueError: If they do.
    """
    tags = [OUTSIDE] * length
    for start, end, label in spans:
        if not 0 <= start < end <= length or any(tag != OUTSIDE for tag in tags[start:end]):
            raise ValueError(
                f"the span [{start}, {end}) of {label} is empty, outside [0, {length}), or overlaps another"
            )
        tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
        if scheme == "BIOES":
            tags[end - 1] = f"{'S' if end - start == 1 else 'E'}-{label}"
    return tags


def from_tags(tags: Sequence[str]) -> list[LabeledSpan]:
    """The spans that tags spell, in order; reads BIO (IOB2), IOB1 and BIOES alike.

    A tag that cannot follow the one before (I-PER after O or after B-LOC) begins a span of its own, as the CoNLL scorer
    reads it.
    """
    spans: list[LabeledSpan] = []
    start, label = 0, ""  # of the open span; no label: none is open
    for i, tag in enumerate(tags):
        prefix, _, name = tag.partition("-")
        if label and (prefix not in ("I", "E", "M", "L") or name != label):
            spans.append(LabeledSpan(start, i, label))
            label = ""
        if prefix in ("B", "I", "E", "S", "M", "L", "U") and name:
            if not label:
                start, label = i, name
            if prefix in ("E", "S", "L", "U"):
                spans.append(LabeledSpan(start, i + 1, label))
                label = ""
    if label:
        spans.append(LabeledSpan(start, len(tags), label))
    return spans


def tags_of(labels: Sequence[str], scheme: Scheme) -> list[str]:
    """All tags that spans with these labels can have, O first."""
    return [OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in scheme if prefix != "O")]


def may_follow(before: str | None, after: str | None, scheme: Scheme) -> bool:
    """Whether a tag may stand right after another; None is the beginning or the end of the sequence."""
    open_label = before[2:] if before and before[0] in "BI" else None
    if after and after[0] in "IE":
        return after[2:] == open_label
    return scheme == "BIO" or open_label is None  # in BIOES a span that is open must go on
