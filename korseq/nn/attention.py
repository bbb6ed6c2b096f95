"""Multi-head attention (Vaswani et al. 2017, section 3.2) of a sequence to itself, and to another."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from korseq.nn.masks import attention_bias


class KeysValues(NamedTuple):
    """What queries look at: (B, heads, T, d) each."""

    keys: Tensor
    values: Tensor


def width_of_head(size: int, heads: int, head_size: int | None) -> int:
    """The width of one of several heads.

    Raises:
        ValueError: If `head_size` is None and `heads` does not divide `size`.
    """
    if head_size is None and size % heads:
        raise ValueError(f"{heads} heads do not divide a width of {size}; change either, or set head_size")
    return head_size or size // heads


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(query · keyᵀ / √d + bias) · value: (B, heads, S, d), (B, heads, T, d) twice → (B, heads, S, d).

    In training on a CPU step by step: the gradient of torch's fused attention takes ten times as long for sentences.
    """
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(query, key, value, bias)
    return attention_weights(query, key, bias).to(value.dtype) @ value


def attention_weights(query: Tensor, key: Tensor, bias: Tensor | None = None) -> Tensor:
    """softmax(query · keyᵀ / √d + bias): (B, heads, S, d), (B, heads, T, d) → (B, heads, S, T), in float32."""
    scores = (query * query.size(3) ** -0.5) @ key.transpose(2, 3)  # (B, heads, S, T)
    return torch.softmax(scores.float() if bias is None else scores + bias.float(), dim=3)


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention of a sequence to itself.

    Raises:
        ValueError: If `head_size` is None and `heads` does not divide `size`.
    """

    def __init__(self, size: int, heads: int, head_size: int | None) -> None:
        super().__init__()
        self.heads, self.head_size = heads, width_of_head(size, heads, head_size)
        self.project = nn.Linear(size, 3 * heads * self.head_size)
        self.combine = nn.Linear(heads * self.head_size, size)

    def forward(self, inputs: Tensor, mask: Tensor, causal: bool = False) -> Tensor:
        """inputs (B, T, D), mask (B, T) → (B, T, D)."""
        query, key, value = self._projected(inputs)
        context = attend(query, key, value, attention_bias(mask, query.dtype, causal))
        return self._combined(context)

    def weights(self, inputs: Tensor, mask: Tensor, causal: bool = False) -> Tensor:
        """How much of each place a place takes, the mean of all heads: (B, T, T), in float32."""
        query, key, _ = self._projected(inputs)
        return attention_weights(query, key, attention_bias(mask, query.dtype, causal)).mean(dim=1)

    def step(self, inputs: Tensor, past: KeysValues) -> tuple[Tensor, KeysValues]:
        """The next place of a sequence that sees only what stands before it: inputs (B, 1, D) → (B, 1, D), and what the place
        after it will look at."""
        query, key, value = self._projected(inputs)
        seen = KeysValues(torch.cat([past.keys, key], dim=2), torch.cat([past.values, value], dim=2))
        return self._combined(attend(query, *seen)), seen

    def _projected(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, time, _ = inputs.shape
        projected = self.project(inputs).view(batch, time, 3, self.heads, self.head_size)  # (B, T, 3, heads, d)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (B, heads, T, d)
        return query, key, value

    def _combined(self, context: Tensor) -> Tensor:
        """(B, heads, T, d) → (B, T, D)."""
        output: Tensor = self.combine(context.transpose(1, 2).flatten(2))
        return output


class CrossAttention(nn.Module):
    """Scaled dot-product attention of a sequence to the states of another.

    Args:
        size: Width D of the queries.
        memory_size: Width H of the states.

    Raises:
        ValueError: If `head_size` is None and `heads` does not divide `size`.
    """

    def __init__(self, size: int, memory_size: int, heads: int, head_size: int | None) -> None:
        super().__init__()
        self.heads, self.head_size = heads, width_of_head(size, heads, head_size)
        width = heads * self.head_size
        self.query = nn.Linear(size, width)
        self.remember = nn.Linear(memory_size, 2 * width)
        self.combine = nn.Linear(width, size)

    def memory(self, states: Tensor) -> KeysValues:
        """What queries look at, of states (B, T, H)."""
        batch, time, _ = states.shape
        keys, values = self.remember(states).view(batch, time, 2, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
        return KeysValues(keys, values)

    def forward(self, queries: Tensor, memory: KeysValues, bias: Tensor) -> Tensor:
        """queries (B, S, D) → (B, S, D).

        Args:
            bias: Of the memory's mask; see `attention_bias`.
        """
        context = attend(self._heads(queries), *memory, bias)
        output: Tensor = self.combine(context.transpose(1, 2).flatten(2))
        return output

    def weights(self, queries: Tensor, memory: KeysValues, bias: Tensor) -> Tensor:
        """How much of each state a query takes, the mean of all heads: (B, S, T), in float32."""
        return attention_weights(self._heads(queries), memory.keys, bias).mean(dim=1)

    def _heads(self, queries: Tensor) -> Tensor:
        batch, time, _ = queries.shape
        heads: Tensor = self.query(queries).view(batch, time, self.heads, self.head_size).transpose(1, 2)
        return heads
