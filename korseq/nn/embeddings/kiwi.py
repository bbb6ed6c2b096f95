"""The word vectors inside the Kiwi model."""

from __future__ import annotations

from typing import Literal

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
