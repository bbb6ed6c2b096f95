"""Embedding stages: ids → vectors. Several stages are concatenated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.nn.dropout import Dropout
from korseq.registry import component

_UNK = 1  # the vocabulary's <unk>; korseq.text.vocabulary fixes it, a test compares


class BatchParts(NamedTuple):
    """The parts of the distinct keys in a batch, end to end: those of key m begin at `starts[m]`.

    Attributes:
        ids: (N,) int32.
        starts: (M,) int32, M the number of keys.
    """

    ids: Tensor
    starts: Tensor

    def padded(self) -> Tensor:
        """(M, W) int64, 0 = padding, on the right; W is the greatest number of parts of a key, at least 1."""
        lengths = torch.diff(self.starts, append=self.starts.new_tensor([len(self.ids)]))  # (M,)
        row = torch.repeat_interleave(torch.arange(len(lengths), device=self.ids.device), lengths)  # (N,)
        place = torch.arange(len(self.ids), device=self.ids.device) - self.starts[row]
        padded = self.ids.new_zeros(len(lengths), max(1, int(lengths.max())), dtype=torch.long)
        padded[row, place] = self.ids.long()
        return padded


class EmbeddingModule(nn.Module, ABC):
    """A built embedding stage."""

    output_size: int

    @abstractmethod
    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        """ids (B, T) of the vocabulary or, for a feature with parts, keys of `parts`; mask (B, T) → (B, T, D)."""


class EmbeddingStage(ABC):
    """Settings of an embedding stage. `feature` says what of a token it reads, the rest how its vocabulary is made."""

    size: int
    feature: str
    min_count: int
    max_size: int | None
    reads_parts: ClassVar[bool] = False
    """Whether `feature` must be one that has parts."""

    def pretrained_file(self) -> str | None:
        """A text file of word vectors to begin with."""
        return None

    def reads_kiwi_vectors(self) -> bool:
        """Whether its vocabulary and its vectors are those in Kiwi's model."""
        return False

    def contradictions(self) -> list[str]:
        """Settings of this stage that do not go together, one message each."""
        return []

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
        freeze: Keep the table as it is at the beginning: pretrained vectors, and random ones for tokens without.
        tie: Of sequence-to-sequence pipelines: the table in which the decoder looks symbols up also scores them (Press & Wolf
            2017); if one tokenizer serves source and target, the encoder reads the same table, too.
        std: Vectors begin as normal random numbers with this standard deviation; None: as uniform ones within ±0.1. For recurrent
            sequence-to-sequence pipelines 1.0 learns far faster.
    """

    size: int = Field(default=128, ge=1)
    feature: str = "morpheme"
    min_count: int = Field(default=2, ge=1)
    max_size: int | None = Field(default=None, ge=5)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    word_dropout: float = Field(default=0.0, ge=0, lt=1)
    vectors: str | None = None
    freeze: bool = False
    tie: bool = False
    std: float | None = Field(default=None, gt=0)

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
    min_count: int = Field(default=1, ge=1)


class LookupEmbedding(EmbeddingModule):
    """A table with one row a token; the row of padding stays zero."""

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
        self.table = _table(vocabulary_size, size, std)
        if pretrained is not None:
            with torch.no_grad():
                self.table.weight.copy_(torch.where(pretrained.isnan(), self.table.weight, pretrained))
        self.table.weight.requires_grad = not freeze
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        if self.training and self.word_dropout:
            unknown = (torch.rand(ids.shape, device=ids.device) < self.word_dropout) & mask
            ids = ids.masked_fill(unknown, _UNK)
        output: Tensor = self.dropout(self.table(ids))
        return output


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
    min_count: int = Field(default=3, ge=1)
    max_size: int | None = Field(default=None, ge=5)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    part_dropout: float = Field(default=0.0, ge=0, lt=1)

    def build(self, vocabulary_size: int, pretrained: Tensor | None = None) -> PartsEmbedding:
        return PartsEmbedding(vocabulary_size, self.size, self.dropout, self.part_dropout)


class PartsEmbedding(EmbeddingModule):
    """A table with one row a part; the vectors of distinct keys are made once and then handed to their tokens."""

    def __init__(self, vocabulary_size: int, size: int, dropout: float, part_dropout: float) -> None:
        super().__init__()
        self.output_size = size
        self.part_dropout = part_dropout
        self.table = _table(vocabulary_size, size)
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
    min_count: int = Field(default=2, ge=1)
    max_size: int | None = Field(default=None, ge=5)
    dropout: float = Field(default=0.0, ge=0, lt=1)

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
        self.table = _table(vocabulary_size, part_size)
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
    dropout: float = Field(default=0.0, ge=0, lt=1)

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


def _table(vocabulary_size: int, size: int, std: float | None = None) -> nn.Embedding:
    """Small uniform rows: they train better here than torch's N(0, 1), whose norm of 11 drowns what the encoder adds."""
    table = nn.Embedding(vocabulary_size, size, padding_idx=0)
    with torch.no_grad():
        if std is None:
            nn.init.uniform_(table.weight, -0.1, 0.1)
        else:
            nn.init.normal_(table.weight, std=std)
        table.weight[0].zero_()
    return table


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

    def forward(self, ids: Mapping[str, Tensor], parts: Mapping[str, BatchParts], mask: Tensor) -> Tensor:
        """ids: feature → (B, T); parts: by feature; mask (B, T) → (B, T, D), D the sum of the stages' widths."""
        vectors = [stage(ids[f], parts.get(f), mask) for stage, f in zip(self.stages, self.features, strict=True)]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=2)


COMPONENTS = (Embedding, TagEmbedding, NGramEmbedding, SyllableCNN, KiwiVectors)
