"""Pooling: the states of a sequence → one vector. Several are concatenated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from korseq.nn.encoders.base import Encoded
from korseq.nn.masks import lengths_of, masked_softmax
from korseq.registry import component


class PoolingModule(nn.Module, ABC):
    """A built pooling. Padding must not reach its output."""

    output_size: int

    @abstractmethod
    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        """encoded.states (B, T, H), mask (B, T) → (B, output_size)."""


class Pooling(ABC):
    """Settings of a pooling."""

    @abstractmethod
    def build(self, input_size: int) -> PoolingModule: ...


@component
class LastPooling(Pooling):
    """The state a reader ends with: at the last token forwards, at the first token backwards."""

    def build(self, input_size: int) -> PoolingModule:
        return _Last(input_size)


@component
class MeanPooling(Pooling):
    """The mean over the real tokens."""

    def build(self, input_size: int) -> PoolingModule:
        return _Mean(input_size)


@component
class MaxPooling(Pooling):
    """The largest value of each dimension over the real tokens."""

    def build(self, input_size: int) -> PoolingModule:
        return _Max(input_size)


@component
class AttentionPooling(Pooling):
    """Additive attention with a learned query (Bahdanau et al. 2015; Yang et al. 2016): a_t = softmax(v · tanh(W h_t + b)).

    Args:
        size: Width of the tanh layer; None for that of the states.
    """

    size: int | None = Field(default=None, ge=1)

    def build(self, input_size: int) -> PoolingModule:
        return _Attention(input_size, self.size or input_size)


@component
class FeedForwardAttentionPooling(Pooling):
    """Attention that scores a state by one number of it (Raffel & Ellis 2016): a_t = softmax(tanh(w · h_t + b))."""

    def build(self, input_size: int) -> PoolingModule:
        return _FeedForwardAttention(input_size)


class _Last(PoolingModule):
    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        return encoded.final


class _Mean(PoolingModule):
    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        weights = mask / lengths_of(mask).unsqueeze(1)  # (B, T)
        return torch.bmm(weights.to(encoded.states.dtype).unsqueeze(1), encoded.states).squeeze(1)  # (B, H)


class _Max(PoolingModule):
    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        return encoded.states.masked_fill(~mask.unsqueeze(2), float("-inf")).amax(dim=1)  # (B, H)


class _Attention(PoolingModule):
    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        self.output_size = input_size
        self.project = nn.Linear(input_size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        hidden = torch.tanh(self.project(encoded.states).float())  # on a CPU, bfloat16's tanh takes four times as long
        weights = masked_softmax(self.query(hidden.to(encoded.states.dtype)).squeeze(2), mask)  # (B, T)
        context = torch.bmm(weights.to(encoded.states.dtype).unsqueeze(1), encoded.states)  # (B, 1, H)
        return context.squeeze(1)


class _FeedForwardAttention(PoolingModule):
    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size
        self.score = nn.Linear(input_size, 1)

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        weights = masked_softmax(torch.tanh(self.score(encoded.states).float()).squeeze(2), mask)  # (B, T)
        return torch.bmm(weights.to(encoded.states.dtype).unsqueeze(1), encoded.states).squeeze(1)  # (B, H)


class Poolings(PoolingModule):
    """Several poolings side by side."""

    def __init__(self, poolings: Sequence[Pooling], input_size: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(pooling.build(input_size) for pooling in poolings)
        self.output_size = sum(part.output_size for part in self.parts)  # type: ignore[misc]

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        pooled = [part(encoded, mask) for part in self.parts]
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1)


COMPONENTS = (LastPooling, MeanPooling, MaxPooling, AttentionPooling, FeedForwardAttentionPooling)
