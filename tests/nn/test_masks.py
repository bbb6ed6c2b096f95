"""Masks against loops over single sequences."""

from __future__ import annotations

import pytest
import torch
from helpers import unhurried
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from korseq.nn.masks import attention_bias, last_of, lengths_of, masked_softmax, reorder, reversal_of


def mask_of(lengths: list[int]) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)


some_lengths = st.lists(st.integers(1, 6), min_size=1, max_size=5)


@unhurried
@given(some_lengths)
def test_lengths_count_real_tokens(lengths: list[int]) -> None:
    assert lengths_of(mask_of(lengths)).tolist() == lengths


@unhurried
@given(some_lengths)
def test_last_is_the_state_of_the_last_real_token(lengths: list[int]) -> None:
    states = torch.randn(len(lengths), max(lengths), 3)
    expected = torch.stack([states[i, length - 1] for i, length in enumerate(lengths)])
    assert torch.equal(last_of(states, mask_of(lengths)), expected)


@unhurried
@given(some_lengths)
def test_reversal_turns_the_real_tokens_around_and_leaves_padding_in_place(lengths: list[int]) -> None:
    states = torch.randn(len(lengths), max(lengths), 2)
    reversed_states = reorder(states, reversal_of(mask_of(lengths)))
    for i, length in enumerate(lengths):
        assert torch.equal(reversed_states[i, :length], states[i, :length].flip(0))
        assert torch.equal(reversed_states[i, length:], states[i, length:])


@unhurried
@given(some_lengths)
def test_reversing_twice_restores(lengths: list[int]) -> None:
    states, index = torch.randn(len(lengths), max(lengths), 2), reversal_of(mask_of(lengths))
    assert torch.equal(reorder(reorder(states, index), index), states)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_looks_exactly_where_it_may(causal: bool) -> None:
    lengths = [4, 1, 3]
    mask = mask_of(lengths)
    bias = attention_bias(mask, torch.float32, causal).expand(3, 1, 4, 4)
    for i, length in enumerate(lengths):
        for query in range(4):
            seen = {key for key in range(4) if bias[i, 0, query, key] == 0}
            assert seen == {key for key in range(length) if not causal or key <= query}
            assert all(bias[i, 0, query, key] == -torch.inf for key in set(range(4)) - seen)


def test_no_query_is_left_without_a_key_even_in_padding() -> None:
    mask = mask_of([4, 1])
    query = torch.randn(2, 1, 4, 2)
    for causal in (False, True):
        output = F.scaled_dot_product_attention(query, query, query, attention_bias(mask, query.dtype, causal))
        assert output.isfinite().all()


@unhurried
@given(some_lengths)
def test_masked_softmax_is_a_softmax_of_the_real_tokens(lengths: list[int]) -> None:
    scores = 10 * torch.randn(len(lengths), max(lengths))
    weights = masked_softmax(scores, mask_of(lengths))
    for i, length in enumerate(lengths):
        torch.testing.assert_close(weights[i, :length], torch.softmax(scores[i, :length], dim=0))
        assert torch.count_nonzero(weights[i, length:]) == 0


def test_masked_softmax_of_half_precision_is_computed_in_float32() -> None:
    scores = torch.tensor([[1.0, 1.001, 7.0]], dtype=torch.bfloat16)
    assert masked_softmax(scores, mask_of([3])).dtype == torch.float32
