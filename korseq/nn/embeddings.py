"""Embedding stages: ids → vectors. Several stages are concatenated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from korseq.registry import component

_UNK = 1  # the vocabulary's <unk>; korseq.text.vocabulary fixes it, a test compares


class EmbeddingModule(nn.Module, ABC):
    """A built embedding stage."""

    output_size: int

    @abstractmethod
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids (B, T), mask (B, T) → (B, T, D)."""


class EmbeddingStage(ABC):
    """Settings of an embedding stage. `feature` says what of a token it reads, the rest how its vocabulary is made."""

    feature: str
    min_count: int
    max_size: int | None
    vectors: str | None

    @abstractmethod
    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> EmbeddingModule:
        """The module.

        Args:
            vocabulary_size: V, the specials included.
            pretrained: (V, D), a NaN row for each token without a pretrained vector; None without pretrained vectors.
        """


@component
class Embedding(EmbeddingStage):
    """A learned vector for each token of the vocabulary.

    Args:
        size: Width D of a vector. With pretrained `vectors` it must be theirs.
        feature: What is looked up: "morpheme" (form and tag), "form", "tag", "eojeol", ….
        min_count: Rarer tokens of the training data are unknown.
        max_size: At most so many tokens, specials included; the most frequent stay.
        dropout: Share of the vectors' elements that training sets to zero.
        word_dropout: Share of the tokens that training makes unknown, so that `<unk>` is learned.
        vectors: Text file of pretrained vectors (word2vec or fastText, `token v1 v2 …` a line) to begin with.
        freeze: Keep the pretrained vectors as they are.
    """

    size: int = Field(128, ge=1)
    feature: str = "morpheme"
    min_count: int = Field(2, ge=1)
    max_size: int | None = Field(None, ge=5)
    dropout: float = Field(0.0, ge=0, lt=1)
    word_dropout: float = Field(0.0, ge=0, lt=1)
    vectors: str | None = None
    freeze: bool = False

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> LookupEmbedding:
        return LookupEmbedding(vocabulary_size, self.size, self.dropout, self.word_dropout, pretrained, self.freeze)


class LookupEmbedding(EmbeddingModule):
    """A table with one row a token; the row of padding stays zero."""

    def __init__(
        self, vocabulary_size: int, size: int, dropout: float, word_dropout: float, pretrained: Tensor | None, freeze: bool
    ) -> None:
        super().__init__()
        self.output_size = size
        self.word_dropout = word_dropout
        self.table = nn.Embedding(vocabulary_size, size, padding_idx=0)
        # Small uniform rows train better here than torch's N(0, 1), whose norm of 11 drowns what the encoder adds.
        nn.init.uniform_(self.table.weight, -0.1, 0.1)
        with torch.no_grad():
            if pretrained is not None:
                self.table.weight.copy_(torch.where(pretrained.isnan(), self.table.weight, pretrained))
            self.table.weight[0].zero_()
        self.table.weight.requires_grad = not freeze
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        if self.training and self.word_dropout:
            unknown = (torch.rand(ids.shape, device=ids.device) < self.word_dropout) & mask
            ids = ids.masked_fill(unknown, _UNK)
        output: Tensor = self.dropout(self.table(ids))
        return output


class Embeddings(nn.Module):
    """All embedding stages of a pipeline, concatenated.

    Args:
        stages: The built stages, in order.
        features: The feature that each of them reads.
    """

    def __init__(self, stages: Sequence[EmbeddingModule], features: Sequence[str]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.features = tuple(features)
        self.output_size = sum(stage.output_size for stage in stages)

    def forward(self, ids: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """ids: feature → (B, T); mask (B, T) → (B, T, D), D the sum of the stages' widths."""
        parts = [stage(ids[feature], mask) for stage, feature in zip(self.stages, self.features, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


COMPONENTS = (Embedding,)
