"""Batches: every sequence once, padded as loops would pad it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from helpers import synthetic_data, unhurried
from hypothesis import given
from hypothesis import strategies as st

from korseq.data.batches import collate, prediction_batches, training_order
from korseq.data.encoded import EncodedData
from korseq.nn.sequences import Batch

RANDOM = np.random.default_rng(0)


@st.composite
def corpora(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=60))
    return np.asarray(lengths), draw(st.integers(1, 12))


# The order of training -------------------------------------------------------------------------------------------------


@unhurried
@given(corpora(), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_has_every_sequence_exactly_once(corpus: tuple[np.ndarray, int], seed: int, epoch: int) -> None:
    lengths, batch_size = corpus
    batches = training_order(lengths, batch_size, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert sorted(map(len, batches), reverse=True)[:-1] == [batch_size] * (len(batches) - 1)  # only one may be smaller


def as_lists(batches: list[Any]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    lengths = RANDOM.integers(1, 50, 200)
    first = as_lists(training_order(lengths, 8, seed=1, epoch=2))
    np.random.seed(0)  # the global generator has no say
    assert as_lists(training_order(lengths, 8, seed=1, epoch=2)) == first
    assert as_lists(training_order(lengths, 8, seed=1, epoch=3)) != first
    assert as_lists(training_order(lengths, 8, seed=2, epoch=2)) != first


def test_other_sequences_meet_in_another_epoch() -> None:
    """Not only the order of the batches changes: bucketing must not freeze who is learnt with whom."""
    lengths = RANDOM.integers(1, 50, 4000)
    first, second = ({frozenset(batch) for batch in as_lists(training_order(lengths, 8, 0, epoch))} for epoch in (0, 1))
    assert len(first & second) < len(first) / 100


def test_batches_do_not_come_sorted_by_length() -> None:
    lengths = RANDOM.integers(1, 50, 800)
    longest = [lengths[batch].max() for batch in training_order(lengths, 8, 0, 0)]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.3


def test_sequences_of_one_batch_are_about_as_long_as_each_other() -> None:
    lengths = RANDOM.integers(1, 200, 4000)
    padded = sum(len(b) * lengths[b].max() for b in training_order(lengths, 16, 0, 0))
    random_order = RANDOM.permutation(4000).reshape(-1, 16)
    assert padded < 1.05 * lengths.sum()
    assert sum(16 * lengths[b].max() for b in random_order) > 1.5 * lengths.sum()  # what bucketing saves


# Collating -------------------------------------------------------------------------------------------------------------


def test_a_batch_is_what_loops_would_pad() -> None:
    data = synthetic_data([3, 1, 6, 2, 4], parts=True)
    indices = np.asarray([4, 1, 2])
    batch = collate(data, indices)
    assert batch.mask.dtype == torch.bool
    assert batch.mask.sum(dim=1).tolist() == [4, 1, 6]
    assert batch.tokens == 11
    assert batch.indices.tolist() == [4, 1, 2]
    assert batch.targets is not None
    assert data.targets is not None
    assert batch.targets.tolist() == [data.targets[i] for i in indices]
    table = data.parts["eojeol_ngrams"]
    for row, i in enumerate(indices):
        start, end = data.offsets[i], data.offsets[i + 1]
        assert batch.ids["form"][row].tolist() == data.ids["form"][start:end].tolist() + [0] * (6 - (end - start))
        for place in range(6):
            ids, starts = batch.parts["eojeol_ngrams"]
            found = ids.tensor_split(starts[1:].long())[batch.ids["eojeol_ngrams"][row, place]]
            key = data.ids["eojeol_ngrams"][start + place] if place < end - start else 0
            assert found.tolist() == table.ids[table.offsets[key] : table.offsets[key + 1]].tolist()


def test_a_batch_holds_the_parts_of_its_own_keys_only() -> None:
    data = synthetic_data([3, 1, 6], parts=True)
    batch = collate(data, np.asarray([1]))
    assert len(batch.parts["eojeol_ngrams"].starts) == 1
    assert batch.ids["eojeol_ngrams"].tolist() == [[0]]  # row 0 of the batch's parts, here not padding but the only key


def test_without_targets_a_batch_has_none() -> None:
    data = synthetic_data([2, 3])
    assert collate(type(data)(data.ids, data.offsets, {}, None, 0), np.asarray([0])).targets is None


def test_moving_a_batch_keeps_everything() -> None:
    batch = collate(synthetic_data([2, 3], parts=True), np.asarray([1, 0]))
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved, Batch)
    assert moved.targets is not None
    tensors = [moved.mask, moved.targets, *moved.ids.values(), *moved.parts["eojeol_ngrams"]]
    assert {t.device.type for t in tensors} == {"meta"}
    assert moved.ids.keys() == batch.ids.keys()
    assert moved.parts.keys() == batch.parts.keys()
    assert moved.indices.tolist() == [1, 0]


# Prediction ------------------------------------------------------------------------------------------------------------


def rounded_up(width: int) -> int:
    """By its definition: the next number whose binary digits after the first three are zeros."""
    return next(n for n in itertools.count(width) if not bin(n)[5:].strip("0"))


@unhurried
@given(corpora(), st.integers(1, 100))
def test_prediction_reads_every_sequence_within_the_budget(corpus: tuple[np.ndarray, int], tokens: int) -> None:
    data = synthetic_data(corpus[0].tolist())
    batches = list(prediction_batches(data, tokens))
    once = [*(b.indices for b in batches[:-1]), np.unique(batches[-1].indices)] if batches else []
    assert sorted(np.concatenate([*once, np.empty(0)]).tolist()) == list(range(len(data)))
    # Over the budget only where a single sequence is.
    assert all(batch.mask.numel() <= tokens or len(batch.indices) == 1 for batch in batches)


@unhurried
@given(corpora(), st.integers(1, 100))
def test_prediction_batches_have_one_of_a_few_shapes(corpus: tuple[np.ndarray, int], tokens: int) -> None:
    data = synthetic_data(corpus[0].tolist())
    batches = list(prediction_batches(data, tokens))
    for batch in batches:
        rows, width = batch.mask.shape
        assert rows & (rows - 1) == 0
        assert width == rounded_up(int(data.lengths[batch.indices].max()))
    for number, batch in enumerate(batches[:-1]):  # as large as the budget allows
        twice = 2 * len(batch.indices)
        rows_from_here = np.concatenate([b.indices for b in batches[number:]])[:twice]
        assert twice * rounded_up(int(data.lengths[rows_from_here].max())) > tokens


def test_no_sequences_make_no_batches() -> None:
    assert list(prediction_batches(synthetic_data([]), 100)) == []
    assert training_order(np.asarray([], dtype=np.int64), 4, 0, 0) == []


@pytest.mark.parametrize("lengths", [[1], [7, 7, 7]])
def test_batches_without_padding_have_a_full_mask(lengths: list[int]) -> None:
    assert collate(synthetic_data(lengths), np.arange(len(lengths))).mask.all()


def test_batches_of_tokens_have_few_shapes() -> None:
    """oneDNN keeps what it has made for every shape that it meets: with hundreds of them, gigabytes."""
    lengths = np.random.default_rng(0).integers(1, 60, 20_000)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    data = EncodedData({"form": np.ones(offsets[-1], np.int32)}, offsets, {}, None, 0)
    batches = training_order(lengths, 1, 0, 0, 1000)
    shapes = {collate(data, indices, rounded=True).mask.shape for indices in batches}
    assert len(batches) > 600
    assert len(shapes) < 80
    assert max(batch * width for batch, width in shapes) <= 1000
