"""A learned vector for each token."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from korseq.nn.dropout import Dropout
from korseq.nn.embeddings.base import BatchParts, EmbeddingModule, EmbeddingStage, small_table
from korseq.registry import Adjustable, Rate, component
from korseq.specials import SPECIALS, UNK


@component
class Embedding(EmbeddingStage):
    """A learned vector for each token of the vocabulary.

    Args:
        size: Width D of a vector. With pretrained `vectors` it must be theirs.
        feature: What is looked up: "morpheme" (form and tag), "form", "tag", "place" (whether it begins a word), "name" (how it
            stands in what a list of 385,000 names knows), "eojeol", ….
        min_count: Rarer tokens of the training data are unknown.
        max_size: At most so many tokens, specials included; the most frequent stay.
        dropout: Share of the vectors' elements that training sets to zero.
        word_dropout: Share of the tokens that training makes unknown, so that `<unk>` is learned.
        vectors: Text file of pretrained vectors (word2vec or fastText, `token v1 v2 …` a line) to begin with.
        freeze: Keep the table as it is at the beginning: pretrained vectors, and random ones for tokens without.
        tie: Of sequence-to-sequence pipelines: the table in which the decoder looks symbols up also scores them (Press & Wolf
            2017); if one tokenizer serves source and target, the encoder reads the same table, too.
        std: Vectors begin as normal random numbers with this standard deviation; None: as uniform ones within ±0.1. For recurrent
            sequence-to-sequence pipelines 1.0 learns far faster.
    """

    size: int = Field(default=128, ge=1)
    feature: str = "morpheme"
    min_count: Annotated[int, Adjustable()] = Field(default=2, ge=1)
    max_size: Annotated[int | None, Adjustable()] = Field(default=None, ge=5)
    dropout: Rate = 0.0
    word_dropout: Rate = 0.0
    vectors: Annotated[str | None, Adjustable()] = None
    freeze: Annotated[bool, Adjustable()] = False
    tie: bool = False
    std: Annotated[float | None, Adjustable()] = Field(default=None, gt=0)

    def pretrained_file(self) -> str | None:
        return self.vectors

    def contradictions(self) -> list[str]:
        return ["freeze: there are no vectors to keep; set vectors = FILE"] if self.freeze and not self.vectors else []

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> LookupEmbedding:
        return LookupEmbedding(
            vocabulary_size, self.size, self.dropout, self.word_dropout, pretrained, self.freeze, self.tie, self.std
        )


@component
class TagEmbedding(Embedding):
    """A learned vector for the part-of-speech tag of each token. The arguments are those of `Embedding`."""

    size: int = Field(default=32, ge=1)
    feature: str = "tag"
    min_count: Annotated[int, Adjustable()] = Field(default=1, ge=1)


class LookupEmbedding(EmbeddingModule):
    """A table with one row a token; the row of padding stays zero, unless the table is tied: scoring symbols changes it, too."""

    def __init__(
        self,
        vocabulary_size: int,
        size: int,
        dropout: float,
        word_dropout: float,
        pretrained: Tensor | None,
        freeze: bool,
        tied: bool,
        std: float | None,
    ) -> None:
        super().__init__()
        self.output_size = size
        self.tied = tied
        self.word_dropout = word_dropout
        self.table = small_table(vocabulary_size, size, std)
        if pretrained is not None:
            with torch.no_grad():
                self.table.weight.copy_(torch.where(pretrained.isnan(), self.table.weight, pretrained))
        self.table.weight.requires_grad = not freeze
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        if self.training and self.word_dropout:
            unknown = (torch.rand(ids.shape, device=ids.device) < self.word_dropout) & mask & (ids >= len(SPECIALS))
            ids = ids.masked_fill(unknown, UNK)
        output: Tensor = self.dropout(self.table(ids))
        return output
