"""The divergence between two distributions, against torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from korseq.nn import divergence as room
from korseq.nn.divergence import binary_divergence, divergence, linear_divergence


def expected(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    logs = torch.log_softmax(one, dim=-1), torch.log_softmax(other, dim=-1)
    both = [F.kl_div(a, b, log_target=True, reduction="sum") for a, b in (logs, logs[::-1])]
    return sum(both) / 2


def test_it_is_half_of_both_divergences_of_torch() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(5, 3, 4), torch.randn(5, 3, 4)
    torch.testing.assert_close(divergence(one, other), expected(one, other))
    assert divergence(one, one + 7).item() == pytest.approx(0, abs=1e-6)


def test_of_one_logit_it_is_that_of_two() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(6), torch.randn(6)
    pairs = [torch.stack([torch.zeros(6), logits], dim=1) for logits in (one, other)]
    torch.testing.assert_close(binary_divergence(one, other).sum(), expected(*pairs))


@pytest.mark.parametrize("together", [1, 4, 256])
def test_of_states_it_is_that_of_their_scores_and_so_is_its_gradient(
    monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    monkeypatch.setattr(room, "TOGETHER", together)
    torch.manual_seed(0)
    parts = [torch.randn(9, 6), torch.randn(9, 6), torch.randn(20, 6), torch.randn(20)]
    ours, theirs = ([t.clone().requires_grad_() for t in parts] for _ in range(2))
    found = linear_divergence(*ours)
    one, other, weight, bias = theirs
    reference = expected(F.linear(one, weight, bias), F.linear(other, weight, bias))
    torch.testing.assert_close(found, reference)
    found.backward()
    reference.backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
