"""How far two distributions are from each other, as told twice under different dropout (Liang et al. 2021, R-Drop)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from korseq.nn.cross_entropy import TOGETHER


def divergence(one: Tensor, other: Tensor) -> Tensor:
    """Half the sum of both Kullback-Leibler divergences between the softmax of two logits (…, K), summed over all but K: ()."""
    log_one, log_other = torch.log_softmax(one.float(), dim=-1), torch.log_softmax(other.float(), dim=-1)
    return ((log_one.exp() - log_other.exp()) * (log_one - log_other)).sum() / 2


def binary_divergence(one: Tensor, other: Tensor) -> Tensor:
    """The same of the sigmoid of two logits, for each number of them: (…)."""
    return (torch.sigmoid(one) - torch.sigmoid(other)) * (one - other) / 2


def linear_divergence(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`divergence` of `states · weightᵀ + bias` for two states (n, D) and a vocabulary (V, D), (V,); scores are made a few
    hundred symbols at a time, and made again for the gradient: ()."""

    def of_part(one: Tensor, other: Tensor) -> Tensor:
        table = weight.to(one.dtype)
        return divergence(F.linear(one, table).float() + bias, F.linear(other, table).float() + bias)

    total = one.new_zeros((), dtype=torch.float32)
    for parts in zip(torch.split(one, TOGETHER), torch.split(other, TOGETHER), strict=True):
        total = total + checkpoint(of_part, *parts, use_reentrant=False)
    return total
