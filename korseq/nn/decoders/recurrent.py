"""Recurrent decoders (Sutskever et al. 2014; Cho et al. 2014), with attention or without."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from korseq.nn.decoders.attention import Attention
from korseq.nn.decoders.base import Decoded, Decoder, DecoderModule, DecoderState
from korseq.nn.dropout import Dropout
from korseq.nn.encoders.base import Encoded
from korseq.nn.encoders.recurrent import initialize, recur
from korseq.registry import Plug, Rate, component, settings


@settings
class _RecurrentDecoder(Decoder):
    """What the three have in common."""

    cell: ClassVar[type[nn.RNN | nn.LSTM | nn.GRU]]

    hidden_size: int | None = Field(default=None, ge=1)
    layers: int = Field(default=1, ge=1)
    attention: Annotated[Attention | None, Plug("attention")] = None
    input_feeding: bool = False
    dropout: Rate = 0.0

    def build(self, input_size: int, memory_size: int) -> RecurrentDecoder:
        if self.input_feeding and (self.attention is None or self.attention.before_step):
            raise ValueError('input_feeding needs an attention after the step: attention = { type = "Luong" }')
        return RecurrentDecoder(self, self.cell, input_size, memory_size)

    @property
    def attends(self) -> bool:
        return self.attention is not None


@component
class RNNDecoder(_RecurrentDecoder):
    """Simple recurrence that begins with the encoder's final state: tanh of a linear map of it, from which an LSTM has its cell,
    too, so that it may follow any encoder (Bahdanau et al. 2015, appendix A.2.2).

    Args:
        hidden_size: Width; None for the encoder's.
        layers: Stacked layers.
        attention: How it looks at the source; None for not at all, so that all it knows of it is the encoder's final state.
        input_feeding: Each step also reads what attention made of the one before (Luong et al. 2015, section 3.3).
        dropout: On what a step reads, between layers, and on what it gives.
    """

    cell = nn.RNN


@component
class LSTMDecoder(_RecurrentDecoder):
    """Long short-term memory. The arguments are those of `RNNDecoder`."""

    cell = nn.LSTM


@component
class GRUDecoder(_RecurrentDecoder):
    """Gated recurrent unit. The arguments are those of `RNNDecoder`."""

    cell = nn.GRU


class RecurrentDecoder(DecoderModule):
    """Without attention, or with one after the step, whose result no later step reads, all steps of a known target are made in
    one operation."""

    def __init__(
        self, settings: _RecurrentDecoder, cell: type[nn.RNN | nn.LSTM | nn.GRU], input_size: int, memory_size: int
    ) -> None:
        super().__init__()
        size = self.output_size = settings.hidden_size or memory_size
        self.layers, self.size = settings.layers, size
        self.before_step = settings.attention is not None and settings.attention.before_step
        self.input_feeding = settings.input_feeding
        self.states = 2 if cell is nn.LSTM else 1  # hidden, and the LSTM's cell
        self.bridge = nn.Linear(memory_size, self.states * settings.layers * size)
        read = input_size + (memory_size if self.before_step else size if self.input_feeding else 0)
        self.cell = cell(
            read, size, settings.layers, batch_first=True, dropout=settings.dropout if settings.layers > 1 else 0
        )
        initialize(self.cell)
        self.attention = settings.attention.build(size, memory_size) if settings.attention else None
        self.combine = nn.Linear(memory_size + size, size) if self.attention is not None else None
        self.dropout = Dropout(settings.dropout)

    def forward(self, embedded: Tensor, encoded: Encoded, mask: Tensor, with_attention: bool = False) -> Decoded:
        state = self.start(encoded, mask)
        if not self.before_step and not self.input_feeding:
            hidden = recur(self._at_once, self.dropout(embedded), state.cache["hidden"])
            return self._output(hidden, state)
        steps = []
        for place in range(embedded.size(1)):
            decoded, state = self.step(embedded[:, place : place + 1], state)
            steps.append(decoded)
        attention = [step.attention for step in steps if step.attention is not None]
        return Decoded(torch.cat([step.states for step in steps], dim=1), torch.cat(attention, dim=1))

    def start(self, encoded: Encoded, mask: Tensor) -> DecoderState:
        first = torch.tanh(self.bridge(encoded.final))  # (N, states · layers · H)
        cache = {"hidden": first.view(len(first), self.states, self.layers, self.size)}
        if self.input_feeding:
            cache["fed"] = first.new_zeros(len(first), self.size)
        if self.attention is None:
            return DecoderState({}, cache)
        return DecoderState(
            {"states": encoded.states, "keys": self.attention.keys(encoded.states), "mask": mask}, cache
        )

    def step(self, embedded: Tensor, state: DecoderState, with_attention: bool = False) -> tuple[Decoded, DecoderState]:
        attention = None
        read = [embedded]
        if self.before_step:
            context, attention = self._attend(state.cache["hidden"][:, 0, -1].unsqueeze(1), state)
            read.append(context)
        elif self.input_feeding:
            read.append(state.cache["fed"].unsqueeze(1))
        states, hidden = recur(self._advanced, self.dropout(torch.cat(read, dim=2)), state.cache["hidden"])
        cache = {"hidden": hidden}
        if attention is not None:
            assert self.combine is not None
            decoded = Decoded(self.dropout(torch.tanh(self.combine(torch.cat([states, context], dim=2)))), attention)
        else:
            decoded = self._output(states, state)
        if self.input_feeding:
            cache["fed"] = decoded.states.squeeze(1)
        return decoded, DecoderState(state.memory, cache)

    def _at_once(self, read: Tensor, hidden: Tensor) -> Tensor:
        """All steps of the recurrence: read (R, S, D), hidden (R, states, layers, H) → (R, S, H)."""
        first, *memory = (part.contiguous() for part in hidden.permute(1, 2, 0, 3))  # (layers, R, H)
        output: Tensor = self.cell(read, (first, memory[0]) if memory else first)[0]
        return output

    def _advanced(self, read: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the recurrence: read (R, 1, D), hidden (R, states, layers, H) → (R, 1, H), (R, states, layers, H).

        Step by step, torch's cells take half of the time of its whole layers, which prepare their weights for every call.
        """
        output, after = read.squeeze(1), []
        for layer, weights in enumerate(self.cell.all_weights):
            before = hidden[:, :, layer].float().unbind(1)
            if layer:
                output = functional.dropout(output, self.cell.dropout, self.training)
            states: tuple[Tensor, ...]
            if isinstance(self.cell, nn.LSTM):
                states = torch.lstm_cell(output, before, *weights)
            else:
                one_step = torch.gru_cell if isinstance(self.cell, nn.GRU) else torch.rnn_tanh_cell
                states = (one_step(output, *before, *weights),)
            output = states[0]
            after.append(torch.stack(states, dim=1))
        return output.unsqueeze(1), torch.stack(after, dim=2)

    def _output(self, hidden: Tensor, state: DecoderState) -> Decoded:
        """Of new states, what symbols are predicted from."""
        if self.combine is None:
            return Decoded(self.dropout(hidden), None)
        context, attention = self._attend(hidden, state)
        return Decoded(self.dropout(torch.tanh(self.combine(torch.cat([hidden, context], dim=2)))), attention)

    def _attend(self, queries: Tensor, state: DecoderState) -> tuple[Tensor, Tensor]:
        """queries (N · K, S, H) → (N · K, S, H'), (N · K, S, T). The hypotheses of a source ask the same memory."""
        assert self.attention is not None
        memory = state.memory
        sources = len(memory["mask"])
        asked = queries.reshape(sources, -1, queries.size(2))  # (N, K · S, H)
        context, weights = self.attention(asked, memory["keys"], memory["states"], memory["mask"])
        return context.reshape(*queries.shape[:2], -1), weights.reshape(*queries.shape[:2], -1)
