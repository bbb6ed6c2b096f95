"""Attention of recurrent decoders: how well each source state fits the decoder's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from korseq.registry import component


class AttentionModule(nn.Module, ABC):
    """Scores of source states. What depends on them alone is computed once, as keys."""

    @abstractmethod
    def keys(self, states: Tensor) -> Tensor:
        """states (B, T, H) → (B, T, A)."""

    @abstractmethod
    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """queries (B, S, Q), keys (B, T, A) → (B, S, T)."""

    def forward(self, queries: Tensor, keys: Tensor, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of the states (B, T, H), weighted by how well they fit each query, and the weights.

        Args:
            queries: (B, S, Q).
            keys: (B, T, A).
            mask: (B, T).

        Returns:
            (B, S, H), and (B, S, T) in float32.
        """
        scores = self.scores(queries, keys).float().masked_fill(~mask.unsqueeze(1), float("-inf"))
        weights = torch.softmax(scores, dim=2)
        return weights.to(states.dtype) @ states, weights


class Attention(ABC):
    """Settings of an attention."""

    before_step: ClassVar[bool]
    """Whether the decoder attends with its last state, and reads the context; else with its new one, and adds the context."""

    @abstractmethod
    def build(self, query_size: int, memory_size: int) -> AttentionModule:
        """The module, for queries of the first and source states of the second width.

        Raises:
            ValueError: If they do not go together.
        """


@component
class Bahdanau(Attention):
    """Additive attention, v · tanh(W s + U h) (Bahdanau et al. 2015, appendix A.1.2); the context is an input of the next step.

    Args:
        size: Width of the sum; None for that of the decoder.
    """

    before_step: ClassVar[bool] = True

    size: int | None = Field(default=None, ge=1)

    def build(self, query_size: int, memory_size: int) -> Additive:
        return Additive(query_size, memory_size, self.size or query_size)


@component
class Luong(Attention):
    """Attention after the step; the context joins the new state (Luong et al. 2015, section 3.1).

    Args:
        score: "dot", s · h; "general", s · W h; "concat", v · tanh(W [s; h]).
    """

    before_step: ClassVar[bool] = False

    score: Literal["dot", "general", "concat"] = "general"

    def build(self, query_size: int, memory_size: int) -> AttentionModule:
        if self.score == "concat":
            return Additive(query_size, memory_size, query_size)  # W [s; h] = W' s + U' h
        if self.score == "dot" and query_size != memory_size:
            raise ValueError(
                f'the score "dot" needs a decoder as wide as the encoder ({query_size} ≠ {memory_size}); '
                'change hidden_size, or take "general"'
            )
        return Multiplicative(query_size, memory_size, self.score == "general")


class Additive(AttentionModule):
    """v · tanh(W s + U h)."""

    def __init__(self, query_size: int, memory_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(query_size, size, bias=False)
        self.memory = nn.Linear(memory_size, size)
        self.weight = nn.Linear(size, 1, bias=False)

    def keys(self, states: Tensor) -> Tensor:
        keys: Tensor = self.memory(states)
        return keys

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        summed = torch.tanh(self.query(queries).unsqueeze(2) + keys.unsqueeze(1))  # (B, S, T, A)
        scores: Tensor = self.weight(summed).squeeze(3)
        return scores


class Multiplicative(AttentionModule):
    """s · W h, or s · h."""

    def __init__(self, query_size: int, memory_size: int, general: bool) -> None:
        super().__init__()
        self.memory = nn.Linear(memory_size, query_size, bias=False) if general else nn.Identity()

    def keys(self, states: Tensor) -> Tensor:
        keys: Tensor = self.memory(states)
        return keys

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        return queries @ keys.transpose(1, 2)


COMPONENTS = (Bahdanau, Luong)
