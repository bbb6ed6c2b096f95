"""Cross-entropy over a large vocabulary, straight from the states that the scores are made of.

All scores of a batch at once would be a hundred megabytes that every operation of the usual way moves through memory again: it
took as long as all layers of the network together. Here a few hundred symbols at a time are scored, and the gradient is made
at once, while their numbers are at hand.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Symbols that are scored at a time: enough to fill the matrix units, which with a vocabulary of 30,000 is twice as fast as so few
# that all their scores stay in the cache.
TOGETHER = 256
# What the sides of a matrix are rounded up to, where they differ from batch to batch.
_ROUND = 256


def linear_cross_entropy(states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """The summed cross-entropy of `softmax(states · weightᵀ + bias)` with smoothed targets (Szegedy et al. 2016, section 7).

    Args:
        states: (n, D); scores are computed in its type, everything else in float32.
        weight: (V, D).
        bias: (V,).
        targets: (n,) indices.
        smoothing: Probability mass given evenly to all V.

    Returns:
        (), float32.
    """
    loss: Tensor = _LinearCrossEntropy.apply(states, weight, bias, targets, smoothing)  # type: ignore[no-untyped-call]
    return loss


def symbol_log_probs(states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """The log probability of each target under `softmax(states · weightᵀ + bias)`: (n,), float32. Without gradients.

    Args:
        states: (n, D).
        weight: (V, D).
        bias: (V,).
        targets: (n,) indices.
    """
    found = states.new_empty(len(states), dtype=torch.float32)
    for start in range(0, len(states), TOGETHER):
        part = slice(start, start + TOGETHER)
        log_probs = torch.log_softmax(functional.linear(states[part], weight, bias).float(), dim=1)  # (n', V)
        found[part] = log_probs.gather(1, targets[part].unsqueeze(1)).squeeze(1)
    return found


def sampled_cross_entropy(states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, samples: int) -> Tensor:
    """An estimate of `linear_cross_entropy` against tokens drawn for the whole batch (Jean et al. 2015, section 3).

    Token k is drawn with a probability in proportion to log((k + 2) / (k + 1)), which is about its frequency if the vocabulary is
    sorted by that (Zipf); its score is lowered by the logarithm of the probability that it is among the tokens drawn.

    Args:
        states: (n, D).
        weight: (V, D).
        bias: (V,).
        targets: (n,) indices.
        samples: Drawings, with replacement.

    Returns:
        (), float32.
    """
    vocabulary, device = len(weight), states.device
    drawn = torch.exp(torch.rand(samples, device=device) * math.log(vocabulary + 1)) - 1
    noise = drawn.long().clamp(max=vocabulary - 1).unique()  # type: ignore[no-untyped-call] # (m,)

    def corrected(scores: Tensor, tokens: Tensor) -> Tensor:
        share = torch.log1p(1 / (tokens + 1.0)) / math.log(vocabulary + 1)
        return scores.float() + bias[tokens] - torch.log(-torch.expm1(samples * torch.log1p(-share)))

    own = weight[targets].to(states.dtype)
    right = corrected((states * own).sum(dim=1), targets)  # (n,)
    # A processor's library of matrices keeps what it made for every shape: rows and tokens are filled up to few numbers.
    table = functional.pad(weight[noise].to(states.dtype), (0, 0, 0, -len(noise) % _ROUND))
    scores = functional.pad(states, (0, 0, 0, -len(states) % _ROUND)) @ table.t()
    others = corrected(scores[: len(states), : len(noise)], noise)  # (n, m)
    others = others.masked_fill(targets.unsqueeze(1) == noise, float("-inf"))  # which is counted already
    return (torch.logsumexp(torch.cat([right.unsqueeze(1), others], dim=1), dim=1) - right).sum()


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        table = weight.to(states.dtype)
        learning = any(ctx.needs_input_grad[:3])
        state_gradients = []
        weight_gradient, bias_gradient = (torch.zeros_like(t, dtype=torch.float32) for t in (weight, bias))
        total = states.new_zeros((), dtype=torch.float32)
        for part, gold in zip(torch.split(states, TOGETHER), torch.split(targets, TOGETHER), strict=True):
            scores = (part @ table.t()).float().add_(bias.float())  # (n', V)
            norm = torch.logsumexp(scores, dim=1, keepdim=True)
            right = scores.gather(1, gold.unsqueeze(1))
            total += (norm - (1 - smoothing) * right).sum() - smoothing * scores.mean(dim=1).sum()
            if not learning:
                continue
            # The gradient of the loss: the probabilities, less what they should be.
            error = scores.sub_(norm).exp_().sub_(smoothing / len(table))
            error.scatter_add_(1, gold.unsqueeze(1), torch.full_like(right, smoothing - 1))
            bias_gradient += error.sum(dim=0)
            rounded = error.to(states.dtype)
            state_gradients.append(rounded @ table)
            weight_gradient += rounded.t() @ part
        if learning:
            of_states = torch.cat(state_gradients) if state_gradients else torch.zeros_like(states)
            ctx.save_for_backward(of_states, weight_gradient.to(weight.dtype), bias_gradient.to(bias.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_states, of_weight, of_bias = ctx.saved_tensors
        return of_states * gradient.to(of_states.dtype), of_weight * gradient, of_bias * gradient, None, None
