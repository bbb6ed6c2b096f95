"""What the Kiwi model knows of morphemes and of what stands before them: its vectors."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.nn.dropout import Dropout
from korseq.nn.embeddings.base import BatchParts, EmbeddingModule, EmbeddingStage
from korseq.registry import Rate, component


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

    def leaves_vectors_out(self) -> bool:
        return self.freeze

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
    """What Kiwi's language model knows of the words up to and with each morpheme: the vector of the longest of its 1.4 million
    n-grams (up to four morphemes) that ends there. No download.

    Such a vector tells what may follow. They are centred and normalised, as those of KiwiVectors are, then projected.

    Args:
        size: Width D of a vector: of the learned projection.
        dropout: Share of the projected vectors' elements that training sets to zero.
    """

    size: int = Field(default=128, ge=1)
    dropout: Rate = 0.0

    feature: Literal["kiwi"] = "kiwi"  # these three come with the vectors, and have no other values
    min_count: Literal[1] = 1
    max_size: None = None
    looks_back: ClassVar[bool] = True

    def reads_kiwi_vectors(self) -> bool:
        return True

    def leaves_vectors_out(self) -> bool:
        return True

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> ContextVectors:
        return ContextVectors(vocabulary_size, self.size, self.dropout)


class ContextVectors(EmbeddingModule):
    """N-grams of Kiwi's morphemes, their given vectors and a learned projection.

    The projection alone is among the weights. Whoever builds or loads the module fills it; a checksum, which is saved, tells
    whether with the same. The buffers are, in the words of `korseq.text.kiwi_contexts.LeftContexts`: `morphemes` (V,), Kiwi's of
    each of the vocabulary; `ranks` (4, M + 1), `codes` (G,), `rows` (G,) and `table` (C, 256).
    """

    WIDTH = 256

    morphemes: Tensor
    ranks: Tensor
    codes: Tensor
    rows: Tensor
    table: Tensor
    checksum: Tensor

    def __init__(self, vocabulary_size: int, size: int, dropout: float) -> None:
        super().__init__()
        self.output_size = size
        # Until it is filled, each token has the vector of no n-gram, and that is zero.
        given = {
            "morphemes": torch.full((vocabulary_size,), -1, dtype=torch.int32),
            "ranks": torch.zeros(1, 1, dtype=torch.int32),
            "codes": torch.zeros(1, dtype=torch.int64),
            "rows": torch.zeros(1, dtype=torch.int32),
            "table": torch.zeros(1, self.WIDTH, dtype=torch.int8),
        }
        for name, tensor in given.items():
            self.register_buffer(name, tensor, persistent=False)
        self.register_buffer("checksum", torch.zeros((), dtype=torch.int64))
        self.bits, self.scale = [0], 1.0
        self.projection = nn.Linear(self.WIDTH, size, bias=False)
        self.dropout = Dropout(dropout)

    def fill(
        self,
        morphemes: Tensor,
        ranks: Tensor,
        codes: Tensor,
        rows: Tensor,
        table: Tensor,
        *,
        scale: float,
        checksum: int,
    ) -> None:
        """morphemes (V,): -1 for what is none; the rest as in `LeftContexts`, the vectors times `scale`."""
        given = {"morphemes": morphemes, "ranks": ranks, "codes": codes, "rows": rows, "table": table}
        for name, tensor in given.items():
            setattr(self, name, tensor.to(self.checksum.device))
        self.bits = [int(of_place.max()).bit_length() for of_place in ranks]  # of a rank, at each distance
        self.scale = scale
        self.checksum.fill_(checksum)

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        vectors = F.embedding(self.contexts(ids), self.table).to(self.projection.weight.dtype)  # (B, T, 256)
        projected = self.projection(vectors)
        # Scaled only now, for D is smaller; and what is kept in bytes is exact in bfloat16.
        output: Tensor = self.dropout(projected * (mask.unsqueeze(2) * self.scale).to(projected.dtype))
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
