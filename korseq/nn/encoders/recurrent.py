"""Recurrent encoders: simple (Elman 1990), LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from korseq.nn.dropout import Dropout
from korseq.nn.encoders.base import Encoded, Encoder, EncoderModule, Sight
from korseq.nn.masks import last_of, reorder, reversal_of
from korseq.registry import Rate, component, settings

# Where recurrences compute in float32. Under autocast, cuDNN's compute in float16 whatever its type is, and training has no loss
# scaling to keep small gradients in that range.
FLOAT32_DEVICES = frozenset({"cuda"})

_Result = TypeVar("_Result")


@settings
class _Recurrence(Encoder):
    """What the three have in common."""

    cell: ClassVar[type[nn.RNN | nn.LSTM | nn.GRU]]

    hidden_size: int = Field(default=128, ge=1)
    layers: int = Field(default=1, ge=1)
    bidirectional: bool = False
    reverse: bool = False
    dropout: Rate = 0.0

    @property
    def sees(self) -> Sight:
        if self.bidirectional:
            return "apart" if self.layers == 1 else "all"
        return "after" if self.reverse else "before"

    def build(self, input_size: int) -> Recurrent:
        directions = (False, True) if self.bidirectional else (self.reverse,)
        return Recurrent(self.cell, input_size, self.hidden_size, self.layers, directions, self.dropout)


@component
class RNN(_Recurrence):
    """Simple recurrence, h_t = tanh(W x_t + U h_(t-1) + b).

    Args:
        hidden_size: Width of one direction's state; the output is twice as wide if bidirectional.
        layers: Stacked layers.
        bidirectional: Also read from the end.
        reverse: Read from the end only.
        dropout: On the output of every layer, the same features at every step (Gal & Ghahramani 2016), and on the final state.
    """

    cell = nn.RNN


@component
class LSTM(_Recurrence):
    """Long short-term memory. The arguments are those of `RNN`."""

    cell = nn.LSTM


@component
class GRU(_Recurrence):
    """Gated recurrent unit. The arguments are those of `RNN`."""

    cell = nn.GRU


class Recurrent(EncoderModule):
    """Layers of one or two directions over padded batches.

    The forward direction may run into the padding, since nothing reads its states there. The backward direction reads
    each sequence reversed within its length: 5 to 23 times faster on a CPU than packed sequences, and as exact.
    """

    def __init__(
        self,
        cell: type[nn.RNN | nn.LSTM | nn.GRU],
        input_size: int,
        hidden_size: int,
        layers: int,
        directions: tuple[bool, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        self.directions = directions
        self.output_size = hidden_size * len(directions)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                cell(input_size if layer == 0 else self.output_size, hidden_size, batch_first=True) for _ in directions
            )
            for layer in range(layers)
        )
        self.dropout = Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.RNNBase):
                initialize(module)

    def forward(self, inputs: Tensor, mask: Tensor) -> Encoded:
        reversal = reversal_of(mask) if any(self.directions) else None
        states = inputs
        for layer in self.layers:
            read = [
                self._read(cell, states, mask, reversal if backward else None) for cell, backward in self._pairs(layer)
            ]
            states = torch.cat([s for s, _ in read], dim=2) if len(read) > 1 else read[0][0]
            if self.training and self.dropout.p > 0:
                states = states * self.dropout(states.new_ones(len(states), 1, states.size(2)))  # (B, T, H)
        final = self.dropout(torch.cat([f for _, f in read], dim=1))  # (B, H)
        return Encoded(states, final)

    def unroll(self) -> list[tuple[bool, Unrolled]]:
        """Run every cell one step at a time from now on, to look at its states; it takes much longer.

        Returns:
            Whether it reads from the end, and the cell: of each layer its directions.
        """
        unrolled = []
        for layer in self.layers:
            for i, (cell, backward) in enumerate(self._pairs(layer)):
                assert isinstance(cell, nn.RNNBase)
                unrolled.append((backward, Unrolled(cell)))
                layer.add_module(str(i), unrolled[-1][1])
        return unrolled

    def _pairs(self, layer: nn.Module) -> list[tuple[nn.Module, bool]]:
        return list(zip(layer.children(), self.directions, strict=True))

    @staticmethod
    def _read(cell: nn.Module, inputs: Tensor, mask: Tensor, reversal: Tensor | None) -> tuple[Tensor, Tensor]:
        """States in the order of the text, and the state after the last token read: (B, T, H), (B, H)."""
        if reversal is None:
            states: Tensor = recur(cell, inputs)[0]
            return states, last_of(states, mask)
        states = recur(cell, reorder(inputs, reversal))[0]
        return reorder(states, reversal), last_of(states, mask)


def recur(recurrence: Callable[..., _Result], *vectors: Tensor) -> _Result:
    """What a recurrence makes of vectors, in float32 where it must; see `FLOAT32_DEVICES`."""
    device = vectors[0].device.type
    if device not in FLOAT32_DEVICES:
        return recurrence(*vectors)
    with torch.autocast(device, enabled=False):
        return recurrence(*(v.float() for v in vectors))


class Unrolled(nn.Module):
    """A cell that is run one step at a time, and keeps what it hands on.

    Attributes:
        states: h_t of each step of the last run, (1, B, H), in the order of reading. Whatever comes of a state comes of this
            tensor, the next states too: its gradient is the whole one.
        memories: Of an LSTM c_t, the other thing that is handed on, in the same way.
    """

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self.cell = cell
        self.states: list[Tensor] = []
        self.memories: list[Tensor] = []

    def forward(self, inputs: Tensor) -> tuple[Tensor, Any]:
        """inputs (B, T, D) → (B, T, H) and what is handed on at the end, as from the cell itself."""
        self.states, self.memories = [], []
        carried: Any = None
        for t in range(inputs.size(1)):
            _, carried = self.cell(inputs[:, t : t + 1], carried)
            hidden, *memory = carried if isinstance(carried, tuple) else (carried,)
            self.states.append(hidden)
            self.memories += memory
        return torch.cat(self.states).transpose(0, 1), carried


def initialize(cell: nn.RNNBase) -> None:
    """Orthogonal recurrent weights (Saxe et al. 2014) keep long products from vanishing or exploding; an LSTM's forget gate
    begins open, with a bias of 1 (Jozefowicz et al. 2015)."""
    size = cell.hidden_size
    for name, parameter in cell.named_parameters():
        if name.startswith("weight_hh"):
            for gate in parameter.data.chunk(len(parameter) // size):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
            if cell.mode == "LSTM" and name.startswith("bias_ih"):
                parameter.data[size : 2 * size] = 1.0  # gates are stored in the order input, forget, cell, output
