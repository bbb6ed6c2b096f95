"""Vectors made of a token's parts: its n-grams, or its characters."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.nn.dropout import Dropout
from korseq.nn.embeddings.base import BatchParts, EmbeddingModule, EmbeddingStage, small_table
from korseq.registry import Adjustable, Rate, component


@component
class NGramEmbedding(EmbeddingStage):
    """The mean of the learned vectors of a token's parts, as in fastText (Bojanowski et al. 2017).

    With the default feature, the syllable n-grams of the whitespace word around a morpheme, it sees what a morpheme
    analyzer loses: spelling, typing errors, missing spaces.

    Args:
        size: Width D of a vector.
        feature: What gives the parts.
        min_count: Rarer parts of the training data are unknown.
        max_size: At most so many parts, specials included; the most frequent stay.
        dropout: Share of the vectors' elements that training sets to zero.
        part_dropout: Share of the parts that training leaves out.
    """

    reads_parts: ClassVar[bool] = True

    size: int = Field(default=64, ge=1)
    feature: str = "eojeol_ngrams"
    min_count: Annotated[int, Adjustable()] = Field(default=3, ge=1)
    max_size: Annotated[int | None, Adjustable()] = Field(default=None, ge=5)
    dropout: Rate = 0.0
    part_dropout: Rate = 0.0

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> PartsEmbedding:
        return PartsEmbedding(vocabulary_size, self.size, self.dropout, self.part_dropout)


class PartsEmbedding(EmbeddingModule):
    """A table with one row a part; the vectors of distinct keys are made once and then handed to their tokens."""

    def __init__(self, vocabulary_size: int, size: int, dropout: float, part_dropout: float) -> None:
        super().__init__()
        self.output_size = size
        self.part_dropout = part_dropout
        self.table = small_table(vocabulary_size, size)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        if parts is None:
            raise ValueError("the feature has no parts")  # the configuration is checked for this
        part_ids, padding = parts.ids, None  # without padding, of which there is none, torch takes its fast kernel
        if self.training:
            part_ids = part_ids.masked_fill(torch.rand(part_ids.shape, device=ids.device) < self.part_dropout, 0)
            padding = 0
        vectors = F.embedding_bag(part_ids, self.table.weight, parts.starts, mode="mean", padding_idx=padding)  # (M, D)
        output: Tensor = self.dropout(F.embedding(ids, vectors))  # (B, T, D)
        return output


@component
class SyllableCNN(EmbeddingStage):
    """A convolution over the characters of a token, and the maximum over them (Ma & Hovy 2016).

    Args:
        size: Width D of a vector: the number of filters.
        feature: What gives the characters: "form_syllables", or "form_jamo" for the letters that syllables are made of.
        characters: Width of a character's own vector.
        width: Characters that a filter sees, an odd number.
        min_count: Rarer characters of the training data are unknown.
        max_size: At most so many characters, specials included; the most frequent stay.
        dropout: Share of the vectors' elements that training sets to zero.
    """

    reads_parts: ClassVar[bool] = True

    size: int = Field(default=64, ge=1)
    feature: str = "form_syllables"
    characters: int = Field(default=64, ge=1)
    width: int = Field(default=3, ge=1)
    min_count: Annotated[int, Adjustable()] = Field(default=2, ge=1)
    max_size: Annotated[int | None, Adjustable()] = Field(default=None, ge=5)
    dropout: Rate = 0.0

    def contradictions(self) -> list[str]:
        return (
            ["width: must be odd, so that a character stands in the middle of what is seen"]
            if self.width % 2 == 0
            else []
        )

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> ConvolutionEmbedding:
        return ConvolutionEmbedding(vocabulary_size, self.characters, self.size, self.width, self.dropout)


class ConvolutionEmbedding(EmbeddingModule):
    """Filters over the parts of distinct keys, made once and then handed to their tokens."""

    def __init__(self, vocabulary_size: int, part_size: int, size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.output_size = size
        self.table = small_table(vocabulary_size, part_size)
        self.filters = nn.Conv1d(part_size, size, width, padding=width // 2)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        if parts is None:
            raise ValueError("the feature has no parts")  # the configuration is checked for this
        padded = parts.padded()
        vectors = self.table(padded).transpose(1, 2)  # (M, part size, W)
        filtered = F.relu(self.filters(vectors)) * (padded != 0).unsqueeze(1)  # (M, D, W), zero at padding
        output: Tensor = self.dropout(F.embedding(ids, filtered.amax(dim=2)))  # (B, T, D)
        return output
