"""Batches: which sequences go together, and the padded tensors made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from korseq.data.encoded import EncodedData, Parts
from korseq.nn.embeddings import BatchParts
from korseq.nn.sequences import Batch, Sequences, UnitBatch

# Sequences are sorted by length within pools of so many batches: little padding, and batches still differ between epochs.
_POOL = 64


def collate(data: EncodedData, indices: NDArray[np.int64], rounded: bool = False) -> Batch:
    """The padded batch of the given examples; no Python work per token.

    Args:
        rounded: Pad to one of a few widths.
    """
    rows = indices if data.texts == 1 else (indices[:, None] * data.texts + np.arange(data.texts)).ravel()
    tokens = _padded(data, rows, rounded)
    if data.units is None:
        targets = None if data.targets is None else _targets(data, data.targets, indices, rounded)
        return Batch(tokens.ids, tokens.parts, tokens.mask, targets, indices)
    symbols = _padded(data.units.symbols, indices, rounded)
    places, real = _ragged(data.units.symbols.offsets, indices, rounded)

    def of_units(flat: NDArray[Any], padding: int) -> Tensor:
        return torch.from_numpy(np.where(real, flat[places], padding).astype(np.int64))

    first, last = of_units(data.units.first, 0), of_units(data.units.last, 0)
    units = UnitBatch(symbols.ids, symbols.parts, symbols.mask, first, last)
    targets = None if data.targets is None else of_units(data.targets, -1)
    return Batch(tokens.ids, tokens.parts, tokens.mask, targets, indices, units)


def _targets(data: EncodedData, targets: NDArray[Any], indices: NDArray[np.int64], rounded: bool) -> Tensor:
    if data.each_step:
        places, real = _ragged(data.offsets, indices, False)
        return torch.from_numpy(targets[places[real]])
    if data.target_offsets is None:
        return torch.from_numpy(targets[indices])
    places, real = _ragged(data.target_offsets, indices, rounded)
    return torch.from_numpy(np.where(real, targets[places], 0).astype(np.int64))


def _padded(data: EncodedData, indices: NDArray[np.int64], rounded: bool) -> Sequences:
    places, mask = _ragged(data.offsets, indices, rounded)
    ids, parts = {}, {}
    for feature, flat in data.ids.items():
        if flat.ndim == 2:  # numbers
            ids[feature] = torch.from_numpy(np.where(mask[:, :, None], flat[places], np.float32(0)))
            continue
        padded = np.where(mask, flat[places], 0).astype(np.int64)
        if feature in data.parts:
            rows, inverse = np.unique(padded, return_inverse=True)
            padded = inverse.reshape(padded.shape)
            parts[feature] = _parts_of(data.parts[feature], rows)
        ids[feature] = torch.from_numpy(padded)
    return Sequences(ids, parts, torch.from_numpy(mask))


def _parts_of(parts: Parts, rows: NDArray[np.int64]) -> BatchParts:
    starts = parts.offsets[rows]
    lengths = parts.offsets[rows + 1] - starts
    new_starts = np.cumsum(lengths) - lengths
    places = np.repeat(starts - new_starts, lengths) + np.arange(lengths.sum())
    return BatchParts(torch.from_numpy(parts.ids[places]), torch.from_numpy(new_starts.astype(np.int32)))


def _ragged(
    offsets: NDArray[np.int64], rows: NDArray[np.int64], rounded: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the elements of the given rows stand, padded to the longest row: places (rows, longest), and which are real."""
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    longest = lengths.max()
    position = np.arange(_rounded(longest) if rounded else longest)
    real = position < lengths[:, None]
    return np.where(real, starts[:, None] + position, 0), real


def training_order(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int, tokens: int | None = None
) -> list[NDArray[np.int64]]:
    """Every sequence once, in random batches of similar length; the same arguments give the same batches.

    Args:
        tokens: As many sequences to a batch as make so many padded tokens, its width rounded as `collate` does it, one at least;
            None for `batch_size` of them.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[NDArray[np.int64]] = []
    size = batch_size * _POOL if tokens is None else max(1, int(tokens * _POOL / lengths.mean()))
    for start in range(0, len(order), size):
        pool = order[start : start + size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        if tokens is None:
            batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
        else:
            batches += np.split(pool, _cuts(lengths[pool].tolist(), tokens))
    return [batches[i] for i in random.permutation(len(batches))]


def _cuts(lengths: Sequence[int], tokens: int) -> list[int]:
    """Where rising lengths are cut, so that the number in each part times its rounded width is at most `tokens`. Numbers are
    multiples of 8 if they can be, so that few shapes occur (see `prediction_batches`)."""
    cuts, start = [], 0
    for i, length in enumerate(lengths):
        while (i + 1 - start) * _rounded(length) > tokens and i > start:
            start += (i - start) // 8 * 8 or i - start
            cuts.append(start)
    return cuts


def prediction_batches(data: EncodedData, tokens: int) -> Iterator[Batch]:
    """Every sequence, from the shortest to the longest, as many to a batch as make about `tokens` padded tokens, or units if
    these are more.

    Only a few shapes occur, for oneDNN keeps what it has made for every shape that it meets, half a megabyte for an LSTM: the
    width is rounded up, and the number of sequences is a power of two. The last batch is filled up with its last sequence.
    """
    tokens //= data.texts
    units = data.lengths if data.units is None else data.units.symbols.lengths
    order = np.lexsort((units, data.lengths))
    widths = np.maximum(data.lengths, units)[order]
    start = 0
    while start < len(order):
        # A batch doubles as long as its size times its greatest width keeps to the budget.
        size = 1
        while size < len(order) - start and 2 * size * _rounded(widths[start : start + 2 * size].max()) <= tokens:
            size *= 2
        chosen = order[start : start + size]
        yield collate(data, np.pad(chosen, (0, size - len(chosen)), mode="edge"), rounded=True)
        start += size


def _rounded(width: int) -> int:
    """The width, or the next number above it that has three significant bits: 8, 10, 12, 14, 16, 20, 24, 28, 32, …"""
    step = 1 << max(0, int(width).bit_length() - 3)
    return -(-int(width) // step) * step
