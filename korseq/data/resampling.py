"""Subword regularisation (Kudo 2018): in every epoch of training, texts are cut into subwords in another way.

How each distinct segment of a corpus (a word or a morpheme) can be cut is looked up once; an epoch then only draws among these
ways, as one operation over the whole corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from korseq.specials import BOS, EOS, UNK
from korseq.text.subwords import SubwordTokenizer
from korseq.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Resampling:
    """Texts as segments, and the ways in which each can be cut.

    Attributes:
        segments: (total segments,) int32, which of the distinct ones each is; those of text i are
            `segments[offsets[i]:offsets[i + 1]]`.
        offsets: (texts + 1,) int64.
        ways: Of distinct segment d those with the numbers `first[d]` to `first[d + 1]`; of way w the pieces are
            `ids[starts[w]:starts[w + 1]]`.
        first, starts, ids: See `ways`.
        cumulative: (ways,) the probability of each way of a segment and of those before it.
        room: So many pieces of a text are kept.
        wrapped: Whether texts begin with `<bos>` and end with `<eos>`.
    """

    segments: NDArray[np.int32]
    offsets: NDArray[np.int64]
    first: NDArray[np.int64]
    starts: NDArray[np.int64]
    ids: NDArray[np.int32]
    cumulative: NDArray[np.float64]
    room: int
    wrapped: bool

    def draw(self, random: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The texts as ids, end to end, and where each begins: (total pieces,), (texts + 1,)."""
        # A way is found where a random number falls among the cumulative probabilities of its segment, which are shifted by the
        # segment's number so that all lie in one rising row.
        keys = self.segments + random.random(len(self.segments))
        ways = np.searchsorted(self.cumulative, keys, side="right").clip(max=self.first[self.segments + 1] - 1)
        lengths = np.diff(self.starts)[ways]
        pieces = _gathered(self.ids, self.starts[ways], lengths)
        ends = np.concatenate([[0], np.cumsum(lengths)])[self.offsets]  # where each text begins among the pieces
        counts = np.minimum(np.diff(ends), self.room)
        kept = _gathered(pieces, ends[:-1], counts)
        if not len(kept) or (counts == 0).any():  # an empty text reads as one `<unk>`
            kept, counts = _with_unknown(kept, counts)
        return _wrapped(kept, counts) if self.wrapped else (kept, _offsets(counts))


def resampling(
    tokenizer: SubwordTokenizer, vocabulary: Vocabulary, texts: Iterable[str], max_length: int, wrapped: bool
) -> Resampling:
    """How texts can be cut.

    Args:
        vocabulary: Of its pieces.
        max_length: Of a text in pieces, `<bos>` and `<eos>` included.
        wrapped: Whether it has these.
    """
    numbers: dict[str, int] = {}
    segments: list[int] = []
    counts: list[int] = []
    for of_text in tokenizer.segments(texts):
        segments += [numbers.setdefault(segment, len(numbers)) for segment in of_text]
        counts.append(len(of_text))
    ids: list[int] = []
    first, starts, cumulative = [0], [0], []
    for number, segment in enumerate(numbers):
        ways, probabilities = tokenizer.ways(segment)
        for pieces in ways:
            ids += vocabulary.ids(pieces)
            starts.append(len(ids))
        cumulative += (number + np.cumsum(probabilities)).tolist()
        first.append(first[-1] + len(ways))
    return Resampling(
        np.asarray(segments, np.int32),
        _offsets(counts),
        np.asarray(first, np.int64),
        np.asarray(starts, np.int64),
        np.asarray(ids, np.int32),
        np.asarray(cumulative),
        max_length - 2 * wrapped,
        wrapped,
    )


def _offsets(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))]).astype(np.int64)


def _gathered(values: NDArray[np.int32], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """`values[starts[i]:starts[i] + lengths[i]]` for all i, end to end."""
    before = np.cumsum(lengths) - lengths
    places = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
    return np.take(values, places)


def _with_unknown(ids: NDArray[np.int32], counts: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    places = _offsets(counts)[:-1][counts == 0]
    return np.insert(ids, places, UNK), np.maximum(counts, 1)


def _wrapped(ids: NDArray[np.int32], counts: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The same, each text between `<bos>` and `<eos>`."""
    offsets = _offsets(counts + 2)
    found = np.empty(offsets[-1], np.int32)
    found[offsets[:-1]], found[offsets[1:] - 1] = BOS, EOS
    inside = np.ones(len(found), bool)
    inside[offsets[:-1]] = inside[offsets[1:] - 1] = False
    found[inside] = ids
    return found, offsets
