"""Poolings against loops over single sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Padded, padded_batch
from torch import Tensor

from korseq.nn import AttentionPooling, Encoded, LastPooling, MaxPooling, MeanPooling, PoolingModule, Poolings
from korseq.nn.masks import last_of
from korseq.registry import components

SIZE = 8


@pytest.fixture
def padded() -> Padded:
    return padded_batch()


def attended(module: Any, states: Tensor) -> Tensor:
    """Σ a_t h_t of one sequence (T, H), a_t = softmax(v · tanh(W h_t + b))."""
    scores = torch.stack([module.query.weight[0] @ torch.tanh(module.project(state)) for state in states])
    return sum(a * state for a, state in zip(torch.softmax(scores, 0), states, strict=True))


def attended_by_one_number(module: Any, states: Tensor) -> Tensor:
    """Σ a_t h_t of one sequence (T, H), a_t = softmax(tanh(w · h_t + b))."""
    scores = torch.stack([torch.tanh(module.score.weight[0] @ state + module.score.bias[0]) for state in states])
    return sum(a * state for a, state in zip(torch.softmax(scores, 0), states, strict=True))


# What each listed pooling makes of the states (T, H) of one sequence.
REFERENCES: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "LastPooling": lambda module, states: states[-1],
    "MeanPooling": lambda module, states: sum(states) / len(states),
    "MaxPooling": lambda module, states: torch.stack([max(column) for column in states.T]),
    "AttentionPooling": attended,
    "FeedForwardAttentionPooling": attended_by_one_number,
}
# That of two texts has tests of its own: tests/test_text_pairs.py.
every_pooling = pytest.mark.parametrize("name", [n for n, cls in components("pooling").items() if cls().texts == 1])


def build(name: str) -> PoolingModule:
    torch.manual_seed(3)
    return components("pooling")[name]().build(SIZE)


def encoded_of(vectors: Tensor, mask: Tensor) -> Encoded:
    return Encoded(vectors, last_of(vectors, mask))


@every_pooling
def test_pooling_equals_its_definition_on_each_sequence(name: str, padded: Padded) -> None:
    module = build(name)
    pooled = module(encoded_of(padded.vectors, padded.mask), padded.mask)
    assert pooled.shape == (len(padded.lengths), module.output_size)
    for i, length in enumerate(padded.lengths):
        expected = REFERENCES[name](module, padded.vectors[i, :length])
        torch.testing.assert_close(pooled[i], expected, rtol=0, atol=1e-5)


@every_pooling
def test_padding_does_not_reach_the_pooled_vector(name: str, padded: Padded) -> None:
    module = build(name)
    before = module(encoded_of(padded.vectors, padded.mask), padded.mask)
    after = module(encoded_of(padded.other_padding(), padded.mask), padded.mask)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


@every_pooling
def test_gradients_reach_the_tokens_but_not_the_padding(name: str, padded: Padded) -> None:
    module = build(name)
    vectors = padded.vectors.clone().requires_grad_()
    module(encoded_of(vectors, padded.mask), padded.mask).square().sum().backward()
    assert vectors.grad is not None
    assert all(row[:length].any() for row, length in zip(vectors.grad, padded.lengths, strict=True))
    assert not vectors.grad[~padded.mask].any()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


@every_pooling
def test_bfloat16_states_stay_bfloat16(name: str, padded: Padded) -> None:
    module = build(name).to(torch.bfloat16)
    states = padded.vectors.to(torch.bfloat16)
    assert module(encoded_of(states, padded.mask), padded.mask).dtype == torch.bfloat16


def test_attention_over_equal_states_is_their_mean_so_that_its_weights_sum_to_one(padded: Padded) -> None:
    """With the same state everywhere, only weights that sum to one give that state back."""
    module = AttentionPooling(size=3).build(SIZE)
    state = torch.randn(SIZE)
    states = torch.where(padded.mask.unsqueeze(2), state, torch.full((SIZE,), 1e4))
    pooled = module(encoded_of(states, padded.mask), padded.mask)
    torch.testing.assert_close(pooled, state.expand_as(pooled))


def test_attention_can_pick_one_token() -> None:
    module = AttentionPooling(size=1).build(2)
    with torch.no_grad():
        module.project.weight.copy_(torch.tensor([[1.0, 0.0]]))
        module.project.bias.zero_()
        module.query.weight.fill_(100.0)
    states = torch.tensor([[[-2.0, 1.0], [2.0, 7.0], [-2.0, 3.0]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(module(encoded_of(states, mask), mask), torch.tensor([[2.0, 7.0]]))


def test_max_of_negative_states_is_negative() -> None:
    states, mask = torch.tensor([[[-5.0], [-3.0], [0.0]]]), torch.tensor([[True, True, False]])
    assert MaxPooling().build(1)(encoded_of(states, mask), mask).item() == -3.0


def test_several_poolings_stand_side_by_side(padded: Padded) -> None:
    settings = (MaxPooling(), LastPooling(), MeanPooling())
    encoded = encoded_of(padded.vectors, padded.mask)
    module = Poolings(settings, SIZE)
    expected = [pooling.build(SIZE)(encoded, padded.mask) for pooling in settings]
    assert module.output_size == 3 * SIZE
    assert torch.equal(module(encoded, padded.mask), torch.cat(expected, dim=1))
