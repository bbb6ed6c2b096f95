"""No vector but the token's own number."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from korseq.nn.embeddings.base import BatchParts, EmbeddingModule, EmbeddingStage
from korseq.registry import component


@component
class OneHot(EmbeddingStage):
    """A vector of zeros with a one at the token's place: as wide as the vocabulary, and nothing to learn.

    Their mean over a text (`MeanPooling`) is its bag of words, in shares: what a model knows that is blind to order. The encoder
    between them must be as blind: `Dense`.

    Args:
        feature: What is looked up: "morpheme" (form and tag), "form", "tag", "eojeol", ….
        min_count: Rarer tokens of the training data are unknown.
        max_size: At most so many tokens, specials included; the most frequent stay. A batch takes as many numbers for each of its
            tokens as there are of these.
    """

    feature: str = "morpheme"
    min_count: int = Field(default=2, ge=1)
    max_size: int = Field(default=5000, ge=5)

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> OneHotEmbedding:
        return OneHotEmbedding(vocabulary_size)


class OneHotEmbedding(EmbeddingModule):
    """D = V - 1: column i is that of the token i + 1, since padding is all zero."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.output_size = vocabulary_size - 1

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        vectors = torch.zeros(*ids.shape, self.output_size + 1, device=ids.device)  # (B, T, V)
        return vectors.scatter_(2, ids.unsqueeze(2).long(), 1.0)[:, :, 1:]  # (B, T, D)
