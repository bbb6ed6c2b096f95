"""What every decoder is: it begins with what an encoder has read, and turns the vectors of a target's symbols, each after the
ones before it, into states from which the next symbol is told.

There are two ways to run one, which give the same states: over a whole known target at once (teacher forcing), for training; and
step by step, for search. What a search needs to know of the state between two steps is only which of its tensors belong to
sources and which to hypotheses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from korseq.nn.encoders.base import Encoded


class Decoded(NamedTuple):
    """What a decoder makes of target symbols.

    Attributes:
        states: (B, S, H), one a symbol.
        attention: (B, S, T), how much of each source state went into it; None if the decoder does not attend, or nobody asked.
    """

    states: Tensor
    attention: Tensor | None


@dataclass(frozen=True)
class DecoderState:
    """Where a decoder stands in N sources with K hypotheses each.

    Attributes:
        memory: Of the sources: (N, …) each.
        cache: Of the hypotheses: (N · K, …) each, those of a source one after the other.
    """

    memory: Mapping[str, Tensor]
    cache: Mapping[str, Tensor]

    def select(self, sources: Tensor | None, hypotheses: Tensor) -> DecoderState:
        """The state of some hypotheses only, in another order, one of them perhaps several times.

        Args:
            sources: (N',) which sources are left; None if all are.
            hypotheses: (N' · K') rows of the cache.
        """
        memory = self.memory if sources is None else {n: t.index_select(0, sources) for n, t in self.memory.items()}
        return DecoderState(memory, {name: t.index_select(0, hypotheses) for name, t in self.cache.items()})


class DecoderModule(nn.Module, ABC):
    """A built decoder."""

    output_size: int

    @abstractmethod
    def forward(self, embedded: Tensor, encoded: Encoded, mask: Tensor, with_attention: bool = False) -> Decoded:
        """All steps at once.

        Args:
            embedded: (B, S, D), the vectors of the symbols, of which the first is `<bos>`. What stands in their padding, on the
                right, changes nothing before it.
            encoded: Of the sources.
            mask: (B, T), of the sources.
            with_attention: Whether the attention is wanted.
        """

    @abstractmethod
    def start(self, encoded: Encoded, mask: Tensor) -> DecoderState:
        """The state before the first step, with one hypothesis a source."""

    @abstractmethod
    def step(self, embedded: Tensor, state: DecoderState, with_attention: bool = False) -> tuple[Decoded, DecoderState]:
        """One step of every hypothesis: embedded (N · K, 1, D) → states (N · K, 1, H), attention (N · K, 1, T), and the state
        after it."""


class Decoder(ABC):
    """Settings of a decoder. The widths of what it reads are known only when the pipeline is built."""

    @abstractmethod
    def build(self, input_size: int, memory_size: int) -> DecoderModule:
        """The module.

        Args:
            input_size: D of the target's vectors.
            memory_size: H of the encoder's states.

        Raises:
            ValueError: If the sizes do not go together.
        """

    @property
    def attends(self) -> bool:
        """Whether it looks at the source's states, so that there is an alignment."""
        return True
