"""Masks, lengths and reversal. Every korseq mask is bool, (B, T), True = a real token; other polarities live only here."""

from __future__ import annotations

import torch
from torch import Tensor


def lengths_of(mask: Tensor) -> Tensor:
    """Number of real tokens of each sequence. mask (B, T) → (B,)."""
    return mask.sum(dim=1)


def last_of(states: Tensor, mask: Tensor) -> Tensor:
    """The state at each sequence's last real token. states (B, T, H), mask (B, T) → (B, H)."""
    last = (lengths_of(mask) - 1).view(-1, 1, 1).expand(-1, 1, states.size(2))  # (B, 1, H)
    return states.gather(1, last).squeeze(1)


def reversal_of(mask: Tensor) -> Tensor:
    """Index that reverses each sequence within its length and leaves padding where it is. (B, T) → (B, T), its own inverse."""
    time = torch.arange(mask.size(1), device=mask.device).expand_as(mask)
    return torch.where(mask, lengths_of(mask).unsqueeze(1) - 1 - time, time)


def reorder(states: Tensor, index: Tensor) -> Tensor:
    """`states[b, index[b, u]]` for all b and u. states (B, T, H), index (B, U) → (B, U, H)."""
    batch, time, width = states.shape
    # Whole rows are copied: three times as fast as gathering element by element.
    first = torch.arange(batch, device=index.device).unsqueeze(1) * time  # (B, 1)
    return states.reshape(batch * time, width).index_select(0, (first + index).flatten()).view(*index.shape, width)


def attention_bias(mask: Tensor, dtype: torch.dtype, causal: bool = False) -> Tensor:
    """What `scaled_dot_product_attention` adds to its scores: 0 to look, -inf not to.

    A query at a padded place may look at every real token, so that no row is -inf throughout (its output would be NaN).

    Args:
        mask: (B, T).
        dtype: Of the queries; torch's fused attention wants the same.
        causal: Forbid looking ahead.

    Returns:
        (B, 1, T, T) if causal, else (B, 1, 1, T).
    """
    look = mask[:, None, None, :]  # (B, 1, 1, T)
    if causal:
        size = mask.size(1)
        look = look & torch.ones(size, size, dtype=torch.bool, device=mask.device).tril()  # (B, 1, T, T)
    return torch.zeros(look.shape, dtype=dtype, device=mask.device).masked_fill_(~look, float("-inf"))


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the real tokens; padding gets exactly 0. scores (B, T), mask (B, T) → (B, T), in float32."""
    return torch.softmax(scores.float().masked_fill(~mask, float("-inf")), dim=1)
