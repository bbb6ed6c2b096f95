"""The word vectors inside the Kiwi model."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.nn.dropout import Dropout
from korseq.nn.embeddings.base import BatchParts, EmbeddingModule, EmbeddingStage
from korseq.registry import Rate, component

# Given vectors are scaled to this, so that their elements are about 1, as what the other stages learn to give: with vectors of
# length 1 the encoder would hardly see them beside the others (KMOU-NER F1 0.01 to 0.02 lower).
LENGTH = 16.0
# The mean of every sixteenth context's vector is as good as that of all.
_SAMPLED = 16
# Contexts are kept in bytes: a number of 1 is so many steps. They come from four bits each, and are less than 8.
_STEPS = 16
_ROWS = 1024


@component
class KiwiVectors(EmbeddingStage):
    """The word vectors inside the Kiwi model that is installed: 70,000 morphemes, seen in training or not, no download.

    They are centred and normalised (a common direction holds three quarters of their variance), then projected.

    Args:
        size: Width D of a vector: of the learned projection.
        freeze: Keep the vectors themselves as they are. Else they are trained too, and saved with the pipeline (77 MB).
        dropout: Share of the projected vectors' elements that training sets to zero.
    """

    size: int = Field(default=128, ge=1)
    freeze: bool = True
    dropout: Rate = 0.0

    feature: Literal["kiwi"] = "kiwi"  # these three come with the vectors, and have no other values
    min_count: Literal[1] = 1
    max_size: None = None

    def reads_kiwi_vectors(self) -> bool:
        return True

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> ProjectedVectors:
        return ProjectedVectors(vocabulary_size, self.size, self.dropout, self.freeze)


class ProjectedVectors(EmbeddingModule):
    """A large table of given vectors and a learned projection.

    A frozen table is not among the weights. Whoever builds or loads the module fills it, with the vectors turned as they were
    in training: a rotation is told by the vectors of a few landmarks, which are saved.
    """

    WIDTH, LANDMARKS = 256, 320

    table: Tensor | nn.Embedding
    landmarks: Tensor

    def __init__(self, vocabulary_size: int, size: int, dropout: float, freeze: bool) -> None:
        super().__init__()
        self.output_size = size
        self.frozen = freeze
        if freeze:
            self.register_buffer("table", torch.zeros(vocabulary_size, self.WIDTH), persistent=False)
        else:
            self.table = nn.Embedding(vocabulary_size, self.WIDTH)
        self.register_buffer("landmarks", torch.zeros(self.LANDMARKS, self.WIDTH))
        self.projection = nn.Linear(self.WIDTH, size, bias=False)
        self.dropout = Dropout(dropout)

    @property
    def weights(self) -> Tensor:
        """(V, 256)."""
        return self.table.weight if isinstance(self.table, nn.Embedding) else self.table

    def fill(self, table: Tensor, landmarks: Tensor) -> None:
        """table (V, 256), landmarks (320, 256)."""
        self.weights.data = table.to(self.weights.device)
        self.landmarks.copy_(landmarks)

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        vectors = F.embedding(ids, self.weights).to(self.projection.weight.dtype)  # (B, T, 256)
        output: Tensor = self.dropout(self.projection(vectors))
        return output


@component
class KiwiContexts(EmbeddingStage):
    """What Kiwi's language model knows of the words up to each morpheme: the vector of the longest of its 1.4 million n-grams
    (up to four morphemes) that ends there. No download.

    An n-gram's vector tells what may follow it. They are centred and normalised, as KiwiVectors are, then projected.

    Args:
        size: Width D of a vector: of the learned projection.
        dropout: Share of the projected vectors' elements that training sets to zero.
    """

    size: int = Field(default=128, ge=1)
    dropout: Rate = 0.0

    feature: Literal["kiwi"] = "kiwi"  # these three come with the vectors, and have no other values
    min_count: Literal[1] = 1
    max_size: None = None
    looks_around: ClassVar[bool] = True

    def reads_kiwi_vectors(self) -> bool:
        return True

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> ContextVectors:
        return ContextVectors(vocabulary_size, self.size, self.dropout)


class ContextVectors(EmbeddingModule):
    """N-grams of Kiwi's morphemes, their given vectors and a learned projection.

    The projection alone is among the weights. Whoever builds or loads the module fills it; a checksum, which is saved, tells
    whether with the same.
    """

    WIDTH, PACKED = 256, 160

    morphemes: Tensor
    ranks: Tensor
    codes: Tensor
    rows: Tensor
    table: Tensor
    checksum: Tensor

    def __init__(self, vocabulary_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.output_size = size
        given = {
            "morphemes": torch.full((vocabulary_size,), -1, dtype=torch.int32),  # Kiwi's id of each of the vocabulary
            "ranks": torch.zeros(1, 1, dtype=torch.int32),
            "codes": torch.zeros(1, dtype=torch.int64),
            "rows": torch.zeros(1, dtype=torch.int32),
            "table": torch.zeros(1, self.WIDTH, dtype=torch.int8),
        }
        for name, tensor in given.items():
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("checksum", torch.zeros((), dtype=torch.int64))
        self.bits = [0]
        self.projection = nn.Linear(self.WIDTH, size, bias=False)
        self.dropout = Dropout(dropout)

    def fill(
        self, morphemes: Tensor, ranks: Tensor, codes: Tensor, rows: Tensor, packed: Tensor, checksum: int
    ) -> None:
        """morphemes (V,): Kiwi's id of each of the vocabulary, -1 for what is none; the rest as in
        `korseq.text.kiwi_contexts.LeftContexts`."""
        given = {"morphemes": morphemes, "ranks": ranks, "codes": codes, "rows": rows, "table": _table(packed)}
        for name, tensor in given.items():
            setattr(self, name, tensor.to(self.checksum.device))
        self.bits = [int(of_place.max()).bit_length() for of_place in ranks]  # of a rank, at each distance
        self.checksum.fill_(checksum)

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        steps = F.embedding(self.contexts(ids), self.table).to(self.projection.weight.dtype)  # (B, T, 256)
        vectors = self.projection(steps)
        output: Tensor = self.dropout(vectors * (mask.unsqueeze(2) / _STEPS).to(vectors.dtype))
        return output

    def contexts(self, ids: Tensor) -> Tensor:
        """The rows (B, T) of the longest n-grams that end at each token, 0 where there is none. ids (B, T)."""
        morphemes = self.morphemes[ids].long()
        found = torch.zeros_like(morphemes)
        code, goes_on = torch.zeros_like(morphemes), torch.ones_like(morphemes, dtype=torch.bool)
        left = sum(self.bits)
        for distance, bits in enumerate(self.bits):  # n-grams one longer each time
            back = F.pad(morphemes, (distance, 0), value=-1)[:, : ids.size(1)]
            rank = self.ranks[distance][back].long()
            goes_on &= rank > 0
            left -= bits
            code |= rank << left
            place = torch.searchsorted(self.codes, code).clamp(max=len(self.codes) - 1)
            found = torch.where(goes_on & (self.codes[place] == code), self.rows[place].long(), found)
        return found


def _table(packed: Tensor) -> Tensor:
    """(C, 160) packed vectors → (C, 256) int8: centred, of the length `LENGTH`, in steps of a sixteenth."""
    centre = F.normalize(_unpacked(packed[::_SAMPLED]), dim=1).mean(dim=0)
    table = torch.empty(len(packed), ContextVectors.WIDTH, dtype=torch.int8)
    for start in range(0, len(packed), _ROWS):  # so many stay in a CPU's cache
        vectors = F.normalize(_unpacked(packed[start : start + _ROWS]), dim=1) - centre
        vectors = F.normalize(vectors, dim=1).mul_(LENGTH * _STEPS).round_()
        table[start : start + _ROWS] = vectors.clamp_(-128, 127)
    return table


def _unpacked(packed: Tensor) -> Tensor:
    """(N, 160) bytes → (N, 256); see `LeftContexts.packed`."""
    numbers, factors = packed[:, : ContextVectors.WIDTH // 2], packed[:, ContextVectors.WIDTH // 2 :]
    elements = torch.stack((numbers & 15, numbers >> 4), dim=2).view(len(packed), factors.size(1), -1).float()
    zeros, factors = (factors >> 6) + 6, (factors & 63) + 9
    vectors: Tensor = (elements - zeros.unsqueeze(2)) * factors.unsqueeze(2)
    return vectors.flatten(1)
