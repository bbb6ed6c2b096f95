"""Encoding for taggers: every unit of every text is tagged exactly once, however long the text is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st

from korseq.data.batches import collate, prediction_batches
from korseq.data.encoded import SequenceOptions
from korseq.data.tagged import encode_units, in_units, windows
from korseq.spans import LabeledSpan
from korseq.text import Analysis, Vocabulary
from korseq.text.units import Units, units_of


def analysis_of(lengths: list[int]) -> Analysis:
    """Tokens of these lengths, with a space after every third."""
    text, starts = "", []
    for i, length in enumerate(lengths):
        starts.append(len(text))
        text += chr(0xAC00 + i % 50) * length + (" " if i % 3 == 2 else "")
    ends = [s + n for s, n in zip(starts, lengths, strict=True)]
    forms = [text[s:e] for s, e in zip(starts, ends, strict=True)]
    return Analysis(text, tuple(forms), ("NNG",) * len(lengths), tuple(starts), tuple(ends))


@given(st.integers(0, 3000), st.integers(3, 300))
def test_windows_cover_everything_and_overlap(count: int, room: int) -> None:
    found = windows(count, room)
    assert found[0][0] == 0
    assert found[-1][1] == count
    assert all(stop - start <= room for start, stop in found)
    for (_, stop), (start, _) in itertools.pairwise(found):
        assert stop - start >= room // 4
    assert len(found) == 1 or count > room


VOCABULARY = {"form": Vocabulary([chr(0xAC00 + i) * n for i in range(50) for n in (1, 2, 3)])}
UNITS = {"form": Vocabulary([chr(0xAC00 + i) for i in range(50)])}


@unhurried
@given(
    st.lists(st.lists(st.integers(1, 3), max_size=60), min_size=1, max_size=4),
    st.sampled_from(["token", "syllable"]),
    st.integers(4, 20),
    st.booleans(),
)
def test_every_unit_is_owned_by_one_window_and_reads_its_token(
    texts: list[list[int]], kind: str, max_length: int, bos_eos: bool
) -> None:
    analyses = [analysis_of(lengths) for lengths in texts]
    units = [units_of(analysis, kind) for analysis in analyses]  # type: ignore[arg-type]
    data = encode_units(analyses, units, VOCABULARY, UNITS, SequenceOptions(max_length, bos_eos))
    places = data.units
    assert places is not None
    assert data.lengths.max() <= max_length
    assert data.truncated == 0
    owned: list[list[int]] = [[] for _ in texts]
    for i in range(len(data)):
        text, begin = places.texts[i], int(places.begins[i])
        start, stop = places.owned[i]
        owned[text] += range(begin + start, begin + stop)
        if not len(units[text]):
            continue
        first = places.symbols.offsets[i]
        for u in range(start, stop):
            position = data.offsets[i] + places.first[first + u]
            token = units[text].first[begin + u]
            assert data.ids["form"][position] == VOCABULARY["form"].ids([analyses[text].forms[token]])[0]
    assert owned == [list(range(len(u))) for u in units]


def test_a_word_that_is_longer_than_a_window_is_not_lost() -> None:
    analysis = analysis_of([1] * 50)
    units = units_of(analysis, "word", [(0, len(analysis.text))])
    data = encode_units([analysis], [units], VOCABULARY, {}, SequenceOptions(16))
    assert data.units is not None
    assert [tuple(o) for o in data.units.owned.tolist()] == [(0, 1), *[(0, 0)] * (len(data) - 1)]
    assert data.units.last.max() == 15


def test_batches_of_units() -> None:
    analyses = [analysis_of([2, 1]), analysis_of([]), analysis_of([1])]
    units = [units_of(a, "syllable") for a in analyses]
    data = encode_units(analyses, units, VOCABULARY, UNITS, SequenceOptions())
    batch = collate(data, np.array([0, 1, 2]))
    assert batch.units is not None
    assert batch.targets is None
    assert batch.units.mask.tolist() == [[True] * 3, [True, False, False], [True, False, False]]
    assert batch.units.first.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("spans", "found", "exact"),
    [
        ([(0, 2, "A")], [(0, 1, "A")], 1),
        ([(0, 1, "A")], [(0, 1, "A")], 0),  # ends inside the first token
        ([(0, 1, "A"), (1, 2, "B")], [(0, 1, "A")], 0),  # both in one token: the first takes it
        ([(2, 6, "A")], [(1, 3, "A")], 1),
        ([(1, 3, "A"), (3, 6, "B")], [(0, 2, "A"), (2, 3, "B")], 0),  # the second begins with a space
        ([(5, 6, "A"), (0, 2, "B")], [(0, 1, "B"), (2, 3, "A")], 1),  # in any order; the second takes 하나 for 나
    ],
)
def test_spans_of_characters_become_spans_of_units(
    spans: list[tuple[int, int, str]], found: list[tuple[int, int, str]], exact: int
) -> None:
    analysis = Analysis("가나다 하나", ("가나", "다", "하나"), ("",) * 3, (0, 2, 4), (2, 3, 6))
    units = Units(analysis, range(3), range(3))
    assert in_units([LabeledSpan(*s) for s in spans], units) == ([LabeledSpan(*f) for f in found], exact)


def test_the_morphemes_of_a_contraction_share_their_span() -> None:
    analysis = Analysis("갔다", ("가", "었", "다"), ("VV", "EP", "EF"), (0, 0, 1), (1, 1, 2))
    units = Units(analysis, range(3), range(3))
    assert in_units([LabeledSpan(0, 1, "A"), LabeledSpan(1, 2, "B")], units) == (
        [LabeledSpan(0, 2, "A"), LabeledSpan(2, 3, "B")],
        2,
    )


def test_a_short_text_with_many_units_widens_no_large_batch() -> None:
    analyses = [analysis_of([2] * 8) for _ in range(50)] + [analysis_of([90, *[1] * 7])]
    units = [units_of(analysis, "syllable") for analysis in analyses]
    data = encode_units(analyses, units, VOCABULARY, UNITS, SequenceOptions())
    batches = list(prediction_batches(data, 1000))
    assert {i for batch in batches for i in batch.indices.tolist()} == set(range(51))
    assert all(batch.units is not None and batch.units.mask.numel() <= 1000 for batch in batches)
    assert len(batches[0].indices) == 32
    assert len(batches) <= 4
