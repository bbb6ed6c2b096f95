"""The Transformer decoder (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from korseq.nn.attention import CrossAttention, KeysValues, MultiHeadAttention
from korseq.nn.decoders.base import Decoded, Decoder, DecoderModule, DecoderState
from korseq.nn.dropout import Dropout
from korseq.nn.encoders.attention import sinusoids
from korseq.nn.encoders.base import Encoded
from korseq.nn.masks import attention_bias
from korseq.registry import Rate, component


@component
class TransformerDecoder(Decoder):
    """Transformer decoder, normalised before each part (Xiong et al. 2020), with sinusoidal positions.

    Args:
        layers: Number of layers.
        heads: Heads in each attention.
        hidden_size: Width; None for that of the target's vectors, otherwise these are projected to it.
        feedforward_size: Width inside the feed-forward part; None for four times the width.
        dropout: On embeddings with positions, and on what each part adds.
    """

    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    hidden_size: int | None = Field(default=None, ge=1)
    feedforward_size: int | None = Field(default=None, ge=1)
    dropout: Rate = 0.1

    def build(self, input_size: int, memory_size: int) -> TransformerDecoderModule:
        return TransformerDecoderModule(self, input_size, memory_size)


class DecoderLayer(nn.Module):
    """x + attention(norm(x)), x + cross-attention(norm(x)), x + feedforward(norm(x))."""

    def __init__(self, size: int, memory_size: int, settings: TransformerDecoder) -> None:
        super().__init__()
        inner = settings.feedforward_size or 4 * size
        self.attention_norm, self.cross_norm, self.feedforward_norm = (nn.LayerNorm(size) for _ in range(3))
        self.attention = MultiHeadAttention(size, settings.heads, None)
        self.cross = CrossAttention(size, memory_size, settings.heads, None)
        self.feedforward = nn.Sequential(nn.Linear(size, inner), nn.ReLU(), nn.Linear(inner, size))
        self.dropout = Dropout(settings.dropout)

    def forward(self, states: Tensor, own_mask: Tensor, memory: KeysValues, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The new states (B, S, D), and the queries that were put to the source."""
        states = states + self.dropout(self.attention(self.attention_norm(states), own_mask, causal=True))
        return self._rest(states, memory, bias)

    def step(
        self, states: Tensor, past: KeysValues, memory: KeysValues, bias: Tensor
    ) -> tuple[Tensor, Tensor, KeysValues]:
        """states (N · K, 1, D), of which those of a source ask its memory together."""
        added, past = self.attention.step(self.attention_norm(states), past)
        sources = len(bias)
        states = (states + added).view(sources, -1, states.size(2))  # (N, K, D)
        states, queries = self._rest(states, memory, bias)
        return states.view(-1, 1, states.size(2)), queries, past

    def _rest(self, states: Tensor, memory: KeysValues, bias: Tensor) -> tuple[Tensor, Tensor]:
        queries = self.cross_norm(states)
        states = states + self.dropout(self.cross(queries, memory, bias))
        return states + self.dropout(self.feedforward(self.feedforward_norm(states))), queries


class TransformerDecoderModule(DecoderModule):
    """Positions, layers, and the closing norm that pre-norm needs. The attention it tells is that of the last layer."""

    def __init__(self, settings: TransformerDecoder, input_size: int, memory_size: int) -> None:
        super().__init__()
        size = self.output_size = settings.hidden_size or input_size
        self.project = nn.Identity() if size == input_size else nn.Linear(input_size, size)
        self.layers = nn.ModuleList(DecoderLayer(size, memory_size, settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(size)
        self.dropout = Dropout(settings.dropout)

    def forward(self, embedded: Tensor, encoded: Encoded, mask: Tensor, with_attention: bool = False) -> Decoded:
        bias = attention_bias(mask, encoded.states.dtype)
        # What stands after a symbol is not seen, and so no padding; padding itself sees something, so that it stays finite.
        own_mask = torch.ones(embedded.shape[:2], dtype=torch.bool, device=embedded.device)
        states = self._placed(embedded, 0)
        for layer in self._stack:
            memory = layer.cross.memory(encoded.states)
            states, queries = layer(states, own_mask, memory, bias)
        weights = self._stack[-1].cross.weights(queries, memory, bias) if with_attention else None
        return Decoded(self.norm(states), weights)

    def start(self, encoded: Encoded, mask: Tensor) -> DecoderState:
        memory: dict[str, Tensor] = {"bias": attention_bias(mask, encoded.states.dtype)}
        cache: dict[str, Tensor] = {}
        for i, layer in enumerate(self._stack):
            memory[f"{i}.keys"], memory[f"{i}.values"] = layer.cross.memory(encoded.states)
            heads, width = layer.attention.heads, layer.attention.head_size
            cache[f"{i}.keys"] = cache[f"{i}.values"] = memory[f"{i}.keys"].new_zeros(len(mask), heads, 0, width)
        return DecoderState(memory, cache)

    def step(self, embedded: Tensor, state: DecoderState, with_attention: bool = False) -> tuple[Decoded, DecoderState]:
        memory, cache = state.memory, dict(state.cache)
        states = self._placed(embedded, cache["0.keys"].size(2))
        for i, layer in enumerate(self._stack):
            of_source = KeysValues(memory[f"{i}.keys"], memory[f"{i}.values"])
            past = KeysValues(cache[f"{i}.keys"], cache[f"{i}.values"])
            states, queries, past = layer.step(states, past, of_source, memory["bias"])
            cache[f"{i}.keys"], cache[f"{i}.values"] = past
        weights = None
        if with_attention:
            weights = self._stack[-1].cross.weights(queries, of_source, memory["bias"]).flatten(0, 1).unsqueeze(1)
        return Decoded(self.norm(states), weights), DecoderState(memory, cache)

    @property
    def _stack(self) -> list[DecoderLayer]:
        return cast(list[DecoderLayer], list(self.layers))

    def _placed(self, embedded: Tensor, first: int) -> Tensor:
        """With positions from `first` on."""
        states = self.project(embedded)
        time, size = states.shape[1:]
        places = sinusoids(first + time, size, states.device)[first:]
        placed: Tensor = self.dropout(states * math.sqrt(size) + places.to(states.dtype))
        return placed
