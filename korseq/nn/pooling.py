"""Pooling: the states of a sequence → one vector. Several are concatenated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from korseq.nn.encoders.base import Encoded
from korseq.nn.masks import lengths_of, masked_softmax
from korseq.registry import Plug, component


class PoolingModule(nn.Module, ABC):
    """A built pooling. Padding must not reach its output."""

    output_size: int

    @abstractmethod
    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        """encoded.states (B, T, H), mask (B, T) → (B, output_size)."""


class Pooling(ABC):
    """Settings of a pooling."""

    @property
    def texts(self) -> int:
        """Of how many texts it makes one vector."""
        return 1

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


@component
class PairPooling(Pooling):
    """Two texts, read by one encoder and each pooled to a vector, u and v, side by side with how they differ and agree:
    (u, v, |u - v|, u * v) (Conneau et al. 2017, section 3.2).

    Args:
        pooling: How each text becomes a vector; several are concatenated.
        symmetric: Only what does not depend on which of the two comes first: (|u - v|, u * v).
    """

    pooling: Annotated[Pooling | tuple[Pooling, ...], Plug("pooling", many=True)] = (AttentionPooling(),)
    symmetric: bool = False

    @property
    def texts(self) -> int:
        return 2

    def build(self, input_size: int) -> PoolingModule:
        return _Pair(Poolings(several(self.pooling), input_size), self.symmetric)


def several(poolings: Pooling | tuple[Pooling, ...]) -> tuple[Pooling, ...]:
    """What a field of one or several poolings holds."""
    return poolings if isinstance(poolings, tuple) else (poolings,)


def texts_of(poolings: Pooling | tuple[Pooling, ...]) -> int:
    """Of how many texts they make one vector."""
    return max(pooling.texts for pooling in several(poolings))


def pooling_contradictions(poolings: Pooling | tuple[Pooling, ...], place: str) -> list[str]:
    """What of the poolings at a place of the settings does not go together."""
    inner = [p.pooling for p in several(poolings) if isinstance(p, PairPooling)]
    mistakes = [
        f"{place}: {name} pools one text, PairPooling two; put it into the PairPooling"
        for name in (type(p).__name__ for p in several(poolings) if p.texts == 1)
        if inner
    ]
    return mistakes + [f"{place}.pooling: a pair cannot be of pairs" for found in inner if texts_of(found) > 1]


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


class AttentionPoolingModule(PoolingModule):
    """A built pooling that attends: Σ a_t h_t with weights a_t that sum to one."""

    @abstractmethod
    def weights(self, encoded: Encoded, mask: Tensor) -> Tensor:
        """How much of each state is taken: (B, T), in float32."""

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        weights = self.weights(encoded, mask).to(encoded.states.dtype)
        return torch.bmm(weights.unsqueeze(1), encoded.states).squeeze(1)  # (B, H)


class _Attention(AttentionPoolingModule):
    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        self.output_size = input_size
        self.project = nn.Linear(input_size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def weights(self, encoded: Encoded, mask: Tensor) -> Tensor:
        hidden = torch.tanh(self.project(encoded.states).float())  # on a CPU, bfloat16's tanh takes four times as long
        return masked_softmax(self.query(hidden.to(encoded.states.dtype)).squeeze(2), mask)


class _FeedForwardAttention(AttentionPoolingModule):
    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.output_size = input_size
        self.score = nn.Linear(input_size, 1)

    def weights(self, encoded: Encoded, mask: Tensor) -> Tensor:
        return masked_softmax(torch.tanh(self.score(encoded.states).float()).squeeze(2), mask)


class Poolings(PoolingModule):
    """Several poolings side by side."""

    def __init__(self, poolings: Sequence[Pooling], input_size: int) -> None:
        super().__init__()
        self.names = [type(pooling).__name__ for pooling in poolings]
        self.parts = nn.ModuleList(pooling.build(input_size) for pooling in poolings)
        self.output_size = sum(part.output_size for part in self.parts)  # type: ignore[misc]

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        pooled = [part(encoded, mask) for part in self.parts]
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1)

    def weights(self, encoded: Encoded, mask: Tensor) -> list[tuple[str, Tensor]]:
        """Of the poolings that attend, what they are called and how much of each state they take: (B, T) each, in float32."""
        parts = zip(self.names, self.parts, strict=True)
        return [(name, part.weights(encoded, mask)) for name, part in parts if isinstance(part, AttentionPoolingModule)]


class _Pair(PoolingModule):
    def __init__(self, pooling: Poolings, symmetric: bool) -> None:
        super().__init__()
        self.pooling, self.symmetric = pooling, symmetric
        self.output_size = pooling.output_size * (2 if symmetric else 4)

    def forward(self, encoded: Encoded, mask: Tensor) -> Tensor:
        """encoded.states (2B, T, H), mask (2B, T): the two texts of a pair follow each other → (B, output_size)."""
        first, second = self.pooling(encoded, mask).unflatten(0, (-1, 2)).unbind(dim=1)  # (B, H)
        compared = [(first - second).abs(), first * second]
        return torch.cat(compared if self.symmetric else [first, second, *compared], dim=1)


COMPONENTS = (LastPooling, MeanPooling, MaxPooling, AttentionPooling, FeedForwardAttentionPooling, PairPooling)
