"""Encoding for taggers: units of every text, and windows over texts that are longer than a sequence may be."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from korseq.data.encoded import EncodedData, EncodedUnits, SequenceOptions, encode
from korseq.spans import LabeledSpan
from korseq.text.alignment import Analysis
from korseq.text.units import Units
from korseq.text.vocabulary import Vocabulary

# Of a window: the share that it has in common with the next one.
_OVERLAP = 4


def windows(count: int, room: int) -> list[tuple[int, int]]:
    """Ranges of at most `room` tokens that cover `count` tokens, neighbours with a quarter of a window in common."""
    step = room - room // _OVERLAP
    starts = range(0, max(1, count - room // _OVERLAP), step)
    return [(start, min(start + room, count)) for start in starts]


def encode_units(
    analyses: Sequence[Analysis],
    units: Sequence[Units],
    vocabularies: Mapping[str, Vocabulary],
    unit_vocabularies: Mapping[str, Vocabulary],
    options: SequenceOptions,
) -> EncodedData:
    """Texts as windows of tokens with the units in them; nothing is cut off.

    A text without units has one that nobody owns, so that every sequence has at least one.
    """
    cuts, unit_cuts = [], []
    first: list[int] = []
    last: list[int] = []
    texts: list[int] = []
    begins: list[int] = []
    counts: list[int] = []
    owned: list[tuple[int, int]] = []
    shift = int(options.add_bos_eos)
    room = options.max_length - 2 * shift
    for text, (analysis, of_text) in enumerate(zip(analyses, units, strict=True)):
        ranges = windows(len(analysis), room)
        cuts.append(ranges)
        inside = []
        for i, (start, stop) in enumerate(ranges):
            # A unit is in a window if its first token is; its last one may lie beyond.
            begin, end = bisect_left(of_text.first, start), bisect_left(of_text.first, stop)
            inside.append((begin, end))
            first += [f - start + shift for f in of_text.first[begin:end]] or [0]
            last += [min(t, stop - 1) - start + shift for t in of_text.last[begin:end]] or [0]
            # Two windows part their overlap in its middle.
            mine = bisect_left(of_text.first, (start + ranges[i - 1][1]) // 2) if i else 0
            theirs = bisect_left(of_text.first, (ranges[i + 1][0] + stop) // 2) if i + 1 < len(ranges) else len(of_text)
            owned.append((mine - begin, theirs - begin))
            begins.append(begin)
            counts.append(end - begin)
            texts.append(text)
        unit_cuts.append(inside)
    sequences = encode(analyses, vocabularies, options, cuts=cuts)
    # Units have no BOS and EOS, which nobody tags.
    symbols = encode((u.symbols for u in units), unit_vocabularies, replace(options, add_bos_eos=False), cuts=unit_cuts)
    places = EncodedUnits(
        symbols,
        np.asarray(first, dtype=np.int32),
        np.asarray(last, dtype=np.int32),
        np.asarray(texts, dtype=np.int64),
        np.asarray(begins, dtype=np.int64),
        np.asarray(counts, dtype=np.int64),
        np.asarray(owned, dtype=np.int64).reshape(-1, 2),
    )
    return replace(sequences, units=places)


def in_units(spans: Iterable[LabeledSpan], units: Units) -> tuple[list[LabeledSpan], int]:
    """Character spans as spans of units, and how many of them the units represent exactly.

    A span that begins or ends inside a unit takes the whole unit, unless the span before has taken it.
    """
    starts, ends, furthest = units.symbols.starts, units.symbols.ends, units.furthest()
    found: list[LabeledSpan] = []
    exact = taken = 0
    for start, end, label in sorted(spans):
        first = max(taken, bisect_right(furthest, start))
        stop = bisect_left(starts, end)
        if first < stop:
            exact += starts[first] == start and max(ends[first:stop]) == end
            found.append(LabeledSpan(first, stop, label))
            taken = stop
    return found, exact
