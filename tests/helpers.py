"""Small made-up batches, corpora and models, for tests that need no text. Import it by name: pytest puts `tests/` on the path."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from torch import Tensor

from korseq.data.batches import collate
from korseq.data.encoded import EncodedData, EncodedUnits, Parts
from korseq.heads import Classifier, Head
from korseq.labels import LabelSet
from korseq.model import SequenceModel, predict
from korseq.nn import GRU, Embedding, Embeddings, Encoder, NGramEmbedding, Stack
from korseq.nn.sequences import Batch, UnitBatch
from korseq.training.loop import snapshot
from korseq.training.metrics import METRICS
from korseq.training.scores import Scores

VOCABULARY, KEYS = 14, 9

# For property tests: no time limit on a single example, for machines are busy at times.
unhurried = settings(deadline=None, max_examples=50)


@dataclass(frozen=True)
class Padded:
    """vectors (B, T, D) with random numbers in the padding too, mask (B, T), and the lengths."""

    vectors: Tensor
    mask: Tensor
    lengths: tuple[int, ...]

    def one(self, i: int) -> tuple[Tensor, Tensor]:
        """The i-th sequence alone, without padding: (1, length, D), (1, length)."""
        return self.vectors[i : i + 1, : self.lengths[i]], self.mask[i : i + 1, : self.lengths[i]]

    def other_padding(self) -> Tensor:
        """The same vectors, with other (and large) numbers in the padding."""
        return torch.where(self.mask.unsqueeze(2), self.vectors, 100 * torch.randn_like(self.vectors))


def padded_batch(lengths: tuple[int, ...] = (5, 1, 7, 3, 7, 2), size: int = 8) -> Padded:
    torch.manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return Padded(torch.randn(len(lengths), max(lengths), size), mask, lengths)


def synthetic_data(lengths: Sequence[int], seed: int = 0, parts: bool = False, units: bool = False) -> EncodedData:
    """Random ids of these lengths; the target says whether id 4 occurs. With `parts`, a second feature that has them.

    With `units`, every token is a unit, and the target says whether its id is 4.
    """
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = {"form": random.integers(4, VOCABULARY, offsets[-1]).astype(np.int32)}
    tables = {}
    if parts:
        ids["eojeol_ngrams"] = random.integers(4, KEYS, offsets[-1]).astype(np.int32)
        rows = [[row] if row < 4 else random.integers(4, VOCABULARY, row - 3).tolist() for row in range(KEYS)]
        part_offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        tables["eojeol_ngrams"] = Parts(np.concatenate(rows).astype(np.int32), part_offsets)
    if units:
        return EncodedData(ids, offsets, tables, (ids["form"] == 4).astype(np.int64), 0, _every_token(offsets))
    targets = [int((ids["form"][a:b] == 4).any()) for a, b in itertools.pairwise(offsets)]
    return EncodedData(ids, offsets, tables, np.asarray(targets, dtype=np.int64), 0)


def _every_token(offsets: NDArray[np.int64]) -> EncodedUnits:
    lengths = np.diff(offsets)
    count = len(lengths)
    places = np.concatenate([np.arange(n) for n in lengths] or [np.empty(0)]).astype(np.int32)
    owned = np.stack([np.zeros(count, dtype=np.int64), lengths], axis=1)
    symbols = EncodedData({}, offsets, {}, None, 0)
    return EncodedUnits(symbols, places, places, np.arange(count), np.zeros(count, dtype=np.int64), lengths, owned)


LABELS = LabelSet(["없음", "있음"])


def tiny_model(
    *encoders: Encoder, head: Head | None = None, parts: bool = False, dropout: float = 0.0, seed: int = 0
) -> SequenceModel:
    """A model for `synthetic_data`, whose weights depend on `seed` alone."""
    torch.manual_seed(seed)
    stages, features = [Embedding(6, dropout=dropout, word_dropout=dropout).build(VOCABULARY)], ["form"]
    if parts:
        stages.append(NGramEmbedding(4, part_dropout=dropout).build(VOCABULARY))
        features.append("eojeol_ngrams")
    embeddings = Embeddings(stages, features)
    encoder = Stack(encoders or (GRU(6),), embeddings.output_size)
    head = head or Classifier(dropout=dropout)
    # One that writes texts reads what it has written.
    own = [Embedding(8).build(VOCABULARY)] if head.reports_loss else [stages[0]] if head.reads == "text" else []
    return SequenceModel(embeddings, encoder, head.build(encoder.output_size, LABELS, own))


def scores_on(model: SequenceModel, data: EncodedData) -> Scores:
    """Accuracy of a classifying `tiny_model`."""
    assert data.targets is not None
    gold = [LABELS.labels[t] for t in data.targets]
    return METRICS["classification"](gold, predict(model, data, torch.device("cpu")))


def logits_of(model: SequenceModel, data: EncodedData) -> Tensor:
    """Of all sequences in one batch, in evaluation mode."""
    batch = collate(data, np.arange(len(data)))
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits: Tensor = model(batch)
    model.train(was_training)
    return logits


def digest_of(model: SequenceModel) -> str:
    """Equal for two models exactly if all their weights are."""
    weights = snapshot(model)
    return hashlib.sha256(b"".join(weights[n].numpy().tobytes() for n in sorted(weights))).hexdigest()


def equal_weights(a: SequenceModel, b: SequenceModel) -> bool:
    other = b.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in a.state_dict().items())


def close_weights(a: SequenceModel, b: SequenceModel, tolerance: float = 1e-6) -> bool:
    other = b.state_dict()
    return all(torch.allclose(t, other[n], rtol=0, atol=tolerance) for n, t in a.state_dict().items())


def batch_of(mask: Tensor, units: UnitBatch | None = None, targets: Tensor | None = None) -> Batch:
    """A batch for a head, which sees no ids."""
    return Batch({}, {}, mask, targets, np.arange(len(mask)), units)


ANY_BATCH = batch_of(torch.ones(1, 1, dtype=torch.bool))
"""For heads that need only logits to predict."""


# Sixteen pairs of sentences that a small translator knows by heart in seconds.
PLACES = {"학교": "school", "시장": "the market", "도서관": "the library", "서울": "Seoul"}
PAIRS = [
    (f"{who[0]} {place}에 {verb[0]}.", f"{who[1]} {verb[1]} to {name}.")
    for place, name in PLACES.items()
    for who in (("저는", "I"), ("우리는", "We"))
    for verb in (("갔어요", "went"), ("가야 해요", "have to go"))
]


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third file that is forced to the disk from now on finds no room."""
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
