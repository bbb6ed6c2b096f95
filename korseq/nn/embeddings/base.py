"""What every embedding stage is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn


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

    def prepare(self, values: Tensor, offsets: Tensor) -> None:
        """Called once, before training begins, with all that it will read; most need nothing of it.

        Args:
            values: (N,), or (N, F) numbers, sequence after sequence.
            offsets: (sequences + 1,), where they begin and end.
        """
        return

    @abstractmethod
    def forward(self, ids: Tensor, parts: BatchParts | None, mask: Tensor) -> Tensor:
        """ids (B, T) of the vocabulary or, for a feature with parts, keys of `parts`; mask (B, T) → (B, T, D)."""


class EmbeddingStage(ABC):
    """Settings of an embedding stage. `size` is the width of its vectors, where that can be chosen; `feature` says what of a
    token it reads, the rest how its vocabulary is made."""

    size: int
    feature: str
    min_count: int
    max_size: int | None
    reads_parts: ClassVar[bool] = False
    """Whether `feature` must be one that has parts."""
    looks_back: ClassVar[bool] = False
    """Whether a token's vector tells of those before it, too."""

    def pretrained_file(self) -> str | None:
        """A text file of word vectors to begin with."""
        return None

    def reads_kiwi_vectors(self) -> bool:
        """Whether its vocabulary and its vectors are those in Kiwi's model."""
        return False

    def leaves_vectors_out(self) -> bool:
        """Whether a saved pipeline has no vectors of it, so that Kiwi's are taken again."""
        return False

    @property
    def reads_numbers(self) -> bool:
        """Whether it reads sequences of numbers instead of texts."""
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
        self.widths = tuple(stage.output_size for stage in stages)
        self.output_size = sum(self.widths)

    def prepare(self, values: Mapping[str, Tensor], offsets: Tensor) -> None:
        """Called once, before training begins, with all that each feature will read; see `EmbeddingModule.prepare`."""
        for stage, feature in zip(self.stages, self.features, strict=True):
            assert isinstance(stage, EmbeddingModule)
            stage.prepare(values[feature], offsets)

    def forward(self, ids: Mapping[str, Tensor], parts: Mapping[str, BatchParts], mask: Tensor) -> Tensor:
        """ids: feature → (B, T); parts: by feature; mask (B, T) → (B, T, D), D the sum of the stages' widths."""
        vectors = [stage(ids[f], parts.get(f), mask) for stage, f in zip(self.stages, self.features, strict=True)]
        return vectors[0] if len(vectors) == 1 else torch.cat(vectors, dim=2)


def small_table(vocabulary_size: int, size: int, std: float | None = None) -> nn.Embedding:
    """Small uniform rows: they train better here than torch's N(0, 1), whose norm of 11 drowns what the encoder adds."""
    table = nn.Embedding(vocabulary_size, size, padding_idx=0)
    with torch.no_grad():
        if std is None:
            nn.init.uniform_(table.weight, -0.1, 0.1)
        else:
            nn.init.normal_(table.weight, std=std)
        table.weight[0].zero_()
    return table
