"""What can be measured inside a network while it reads one sequence: attention, gradients, saliency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from korseq.model import SequenceModel
from korseq.nn.attention import MultiHeadAttention
from korseq.nn.encoders.base import Encoded, Stack
from korseq.nn.encoders.recurrent import Recurrent
from korseq.nn.pooling import Poolings
from korseq.nn.sequences import Batch

Numbers: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Measures:
    """Of a sequence of T tokens.

    Attributes:
        value: Of what was differentiated.
        saliency: (T,), |gradient · input| of each token's embedding vectors, all stages' together (Denil et al. 2014; Li et al.
            2016).
        gradient: By encoder, layer and direction (T,): the norm of the gradient with respect to the state h_t, all that comes of
            it later included. Of an LSTM also that with respect to the memory c_t that it hands on.
        attention: By pooling that attends (T,); sums to one.
        self_attention: By encoder that attends (T, T), of its last layer, the mean of all heads: how much of each token (column)
            each token (row) takes; rows sum to one.
    """

    value: float
    saliency: Numbers
    gradient: dict[str, Numbers]
    attention: dict[str, Numbers]
    self_attention: dict[str, Numbers]


def measure(
    model: SequenceModel, encoders: Sequence[str], batch: Batch, objective: Callable[[Tensor], Tensor]
) -> Measures:
    """Run a model and differentiate what comes of it.

    Args:
        model: On a CPU, in evaluation mode. It is changed to be watched: give a copy.
        encoders: What they are called.
        batch: One sequence, without padding.
        objective: From the head's logits to the number that is differentiated.
    """
    vectors = _watch_vectors(model.embeddings)
    states: dict[str, list[Tensor]] = {}
    attention: dict[str, Numbers] = {}
    self_attention: dict[str, Numbers] = {}
    assert isinstance(model.encoder, Stack)
    for name, encoder in zip(_told_apart(encoders), model.encoder.layers, strict=True):
        _watch_states(encoder, name, states)
        _watch_self_attention(encoder, name, self_attention)
    _watch_poolings(model.head, attention)
    value = objective(model(batch))
    sources = [*vectors, *(state for of_name in states.values() for state in of_name)]
    found = iter(torch.autograd.grad(value, sources, materialize_grads=True))
    saliency = (next(found) * vectors[0]).sum(dim=2).abs()[0]  # (T,)
    gradient = {
        name: _numbers(torch.cat([next(found).norm(dim=2).flatten() for _ in of_name]))  # (T,)
        for name, of_name in states.items()
    }
    return Measures(value.item(), _numbers(saliency), gradient, attention, self_attention)


def _numbers(tensor: Tensor) -> Numbers:
    return tensor.detach().float().numpy()


def _told_apart(names: Iterable[str]) -> list[str]:
    """Names of which several are equal get a number."""
    names = list(names)
    count, seen = Counter(names), Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name} {seen[name]}" if count[name] > 1 else name)
    return found


def _parts(encoder: Recurrent) -> list[str]:
    """What is added to its name for each layer and direction."""
    layers = [f" layer {i + 1}" if len(encoder.layers) > 1 else "" for i in range(len(encoder.layers))]
    both = len(encoder.directions) > 1
    directions = [" backward" if backward else " forward" if both else "" for backward in encoder.directions]
    return [layer + direction for layer in layers for direction in directions]


def _watch_vectors(embeddings: nn.Module) -> list[Tensor]:
    """Where the vectors will be put that it gives, (B, T, D); gradients go back to them and no further."""
    found: list[Tensor] = []

    def keep(module: nn.Module, given: Any, vectors: Tensor) -> Tensor:
        found.append(vectors.detach().requires_grad_())
        return found[-1]

    embeddings.register_forward_hook(keep)
    return found


def _watch_states(encoder: nn.Module, name: str, found: dict[str, list[Tensor]]) -> None:
    """After a run: of a recurrence the states of each step, in the order of the text; else those that it gives, in one piece."""
    cells = list(zip(_parts(encoder), encoder.unroll(), strict=True)) if isinstance(encoder, Recurrent) else []

    def keep(module: nn.Module, given: Any, encoded: Encoded) -> None:
        for part, (backward, cell) in cells:
            for kind, kept in (("", cell.states), (" memory", cell.memories)):
                if kept:
                    found[name + part + kind] = kept[::-1] if backward else kept
        if not cells:
            found[name] = [encoded.states]

    encoder.register_forward_hook(keep)


def _watch_self_attention(encoder: nn.Module, name: str, found: dict[str, Numbers]) -> None:
    layers = [module for module in encoder.modules() if isinstance(module, MultiHeadAttention)]

    def keep(module: MultiHeadAttention, given: tuple[Any, ...], output: Tensor) -> None:
        found[name] = _numbers(module.weights(*given)[0])

    if layers:
        layers[-1].register_forward_hook(keep)


def _watch_poolings(head: nn.Module, found: dict[str, Numbers]) -> None:
    def keep(module: Poolings, given: tuple[Encoded, Tensor], pooled: Tensor) -> None:
        weights = module.weights(*given)
        names = _told_apart(name for name, _ in weights)
        found.update(zip(names, (_numbers(of_one[0]) for _, of_one in weights), strict=True))

    for module in head.modules():
        if isinstance(module, Poolings):
            module.register_forward_hook(keep)
