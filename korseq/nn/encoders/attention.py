"""Attention encoders: multi-head self-attention and the Transformer encoder (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from korseq.nn.attention import MultiHeadAttention
from korseq.nn.dropout import Dropout
from korseq.nn.encoders.base import Encoded, Encoder, EncoderModule, Sight
from korseq.nn.masks import last_of
from korseq.registry import Rate, component


@component
class SelfAttention(Encoder):
    """One layer of multi-head self-attention, added to its input or beside it.

    Knows no order by itself: stack it on a recurrent encoder, or use `Transformer`.

    Args:
        heads: Number of heads.
        head_size: Width of a head's queries, keys and values; None for input width / heads.
        join: "add" what it finds to its input, which is as wide; or "concat" the two, which makes states twice as wide.
        norm: Normalise what it reads ("before"), or what comes of it ("after"): the sum, or with "concat" what it finds.
        dropout: On what it finds.
    """

    heads: int = Field(default=4, ge=1)
    head_size: int | None = Field(default=None, ge=1)
    join: Literal["add", "concat"] = "add"
    norm: Literal["before", "after"] = "before"
    dropout: Rate = 0.0

    def build(self, input_size: int) -> SelfAttentionEncoder:
        return SelfAttentionEncoder(input_size, self)


@component
class Transformer(Encoder):
    """Transformer encoder, normalised before each part (Xiong et al. 2020), which trains without a long warm-up.

    Args:
        layers: Number of layers.
        heads: Heads in each layer.
        hidden_size: Width; None for the input's, otherwise the input is projected to it.
        feedforward_size: Width inside the feed-forward part; None for four times the width.
        head_size: Width of a head; None for width / heads.
        positions: "sinusoidal" (any length) or "learned" (up to `max_positions`).
        max_positions: The longest sequence that learned positions can tell apart.
        causal: See only what stands before.
        dropout: On embeddings with positions, and on what each part adds.
    """

    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    hidden_size: int | None = Field(default=None, ge=1)
    feedforward_size: int | None = Field(default=None, ge=1)
    head_size: int | None = Field(default=None, ge=1)
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    max_positions: int = Field(default=512, ge=1)
    causal: bool = False
    dropout: Rate = 0.1

    def build(self, input_size: int) -> TransformerEncoder:
        return TransformerEncoder(input_size, self)

    @property
    def sees(self) -> Sight:
        return "before" if self.causal else "all"

    def longest(self) -> int | None:
        return self.max_positions if self.positions == "learned" else None


class SelfAttentionEncoder(EncoderModule):
    """x + attention(norm(x)), norm(x + attention(x)), or the same with the two beside each other."""

    def __init__(self, size: int, settings: SelfAttention) -> None:
        super().__init__()
        self.adds, self.norm_first = settings.join == "add", settings.norm == "before"
        self.output_size = size if self.adds else 2 * size
        self.norm = nn.LayerNorm(size)
        self.attention = MultiHeadAttention(size, settings.heads, settings.head_size)
        self.dropout = Dropout(settings.dropout)

    def forward(self, inputs: Tensor, mask: Tensor) -> Encoded:
        found = self.dropout(self.attention(self.norm(inputs) if self.norm_first else inputs, mask))
        if self.adds:
            found = inputs + found
        if not self.norm_first:
            found = self.norm(found)
        states = found if self.adds else torch.cat([inputs, found], dim=2)
        return Encoded(states, last_of(states, mask))


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + feedforward(norm(x))."""

    def __init__(self, size: int, settings: Transformer) -> None:
        super().__init__()
        inner = settings.feedforward_size or 4 * size
        self.causal = settings.causal
        self.attention_norm, self.feedforward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = MultiHeadAttention(size, settings.heads, settings.head_size)
        self.feedforward = nn.Sequential(nn.Linear(size, inner), nn.ReLU(), nn.Linear(inner, size))
        self.dropout = Dropout(settings.dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        states = states + self.dropout(self.attention(self.attention_norm(states), mask, self.causal))
        output: Tensor = states + self.dropout(self.feedforward(self.feedforward_norm(states)))
        return output


class TransformerEncoder(EncoderModule):
    """Positions, layers, and the closing norm that pre-norm needs."""

    def __init__(self, input_size: int, settings: Transformer) -> None:
        super().__init__()
        size = self.output_size = settings.hidden_size or input_size
        self.project = nn.Identity() if size == input_size else nn.Linear(input_size, size)
        self.positions = nn.Embedding(settings.max_positions, size) if settings.positions == "learned" else None
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=0.02)
        self.layers = nn.ModuleList(TransformerLayer(size, settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(size)
        self.dropout = Dropout(settings.dropout)

    def forward(self, inputs: Tensor, mask: Tensor) -> Encoded:
        states = self.project(inputs)
        time, size = states.shape[1:]
        if self.positions is not None:
            known = self.positions.num_embeddings
            if time > known and mask[:, known:].any():  # an accelerator's own message would name no reason
                raise ValueError(f"a sequence of {int(mask.sum(dim=1).max())} tokens, but positions for {known}")
            # Padding may reach further.
            places = self.positions(torch.arange(time, device=states.device).clamp(max=known - 1))  # (T, H)
        else:
            places = sinusoids(time, size, states.device)
        # Scaled as in the paper, section 3.4, so that the positions do not drown the embeddings.
        states = self.dropout(states * math.sqrt(size) + places.to(states.dtype))
        for layer in self.layers:
            states = layer(states, mask)
        states = self.norm(states)
        return Encoded(states, last_of(states, mask))


def sinusoids(length: int, size: int, device: torch.device) -> Tensor:
    """Position signals (Vaswani et al. 2017, section 3.5), sines in the even and cosines in the odd columns: (length, size)."""
    position = torch.arange(length, device=device).unsqueeze(1)  # (T, 1)
    rate = torch.exp(torch.arange(0, size, 2, device=device) * (-math.log(10_000.0) / size))  # (ceil(size / 2),)
    angles = position * rate  # (T, ceil(size / 2))
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :size]
