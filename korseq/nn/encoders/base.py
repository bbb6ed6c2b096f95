"""What every encoder is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from torch import Tensor, nn


class Encoded(NamedTuple):
    """What an encoder makes of a batch.

    Attributes:
        states: (B, T, H), one state a token. States at padded places are arbitrary but finite.
        final: (B, H), the summary a recurrent reader ends with: the last state of each direction.
    """

    states: Tensor
    final: Tensor


class EncoderModule(nn.Module, ABC):
    """A built encoder. Its output must not depend on what stands in the padding."""

    output_size: int

    @abstractmethod
    def forward(self, inputs: Tensor, mask: Tensor) -> Encoded:
        """inputs (B, T, D), mask (B, T)."""


Sight: TypeAlias = Literal["itself", "before", "after", "apart", "all"]


class Encoder(ABC):
    """Settings of an encoder. Its input size is known only when the pipeline is built."""

    @abstractmethod
    def build(self, input_size: int) -> EncoderModule: ...

    @property
    def sees(self) -> Sight:
        """Which tokens a state depends on besides its own: none ("itself"), those "before" it, those "after" it, "all"; or
        "apart", the first half of the state on those before it and the second on those after it."""
        return "all"

    def longest(self) -> int | None:
        """The longest sequence it can read; None for any."""
        return None


def sight_of(encoders: Sequence[Encoder]) -> Sight:
    """What the states of encoders one after the other see."""
    found = {encoder.sees for encoder in encoders} - {"itself"} or {"itself"}
    if len(encoders) > 1 and "apart" in found:  # the second encoder reads both halves
        return "all"
    return found.pop() if len(found) == 1 else "all"


class Stack(EncoderModule):
    """Encoders one after the other, each reading the states of the one before."""

    def __init__(self, encoders: Sequence[Encoder], input_size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for encoder in encoders:
            module = encoder.build(input_size)
            self.layers.append(module)
            input_size = module.output_size
        self.output_size = input_size

    def forward(self, inputs: Tensor, mask: Tensor) -> Encoded:
        encoded = self.layers[0](inputs, mask)
        for layer in self.layers[1:]:
            encoded = layer(encoded.states, mask)
        result: Encoded = encoded
        return result
