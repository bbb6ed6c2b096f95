"""The cross-entropy over a large vocabulary is torch's, and so is its gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from korseq.nn import cross_entropy
from korseq.nn.cross_entropy import linear_cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("together", [1, 3, 256])
def test_it_is_that_of_torch(monkeypatch: Any, smoothing: float, together: int) -> None:
    monkeypatch.setattr(cross_entropy, "TOGETHER", together)
    torch.manual_seed(0)
    parts = [torch.randn(17, 6), torch.randn(30, 6), torch.randn(30)]
    ours, theirs = ([t.clone().requires_grad_() for t in parts] for _ in range(2))
    targets = torch.randint(30, (17,))
    loss = linear_cross_entropy(*ours, targets, smoothing)
    expected = F.cross_entropy(
        F.linear(theirs[0], theirs[1], theirs[2]), targets, reduction="sum", label_smoothing=smoothing
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (3 * loss).backward()
    (3 * expected).backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_differences() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(5, 3), torch.randn(7, 3), torch.randn(7)]
    targets = torch.tensor([0, 6, 3, 3, 1])
    parts = [t.requires_grad_() for t in parts]
    linear_cross_entropy(*parts, targets, 0.1).backward()
    for tensor in parts:
        for place in ((0,) * tensor.dim(), tuple(n - 1 for n in tensor.shape)):
            values = []
            for step in (1e-2, -1e-2):
                with torch.no_grad():
                    tensor[place] += step
                    values.append(linear_cross_entropy(*parts, targets, 0.1).item())
                    tensor[place] -= step
            assert tensor.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-2, abs=2e-2)


def test_bfloat16_is_close_and_nothing_is_learnt_without_gradients() -> None:
    torch.manual_seed(0)
    states, weight, bias = torch.randn(40, 16), torch.randn(50, 16), torch.randn(50)
    targets = torch.randint(50, (40,))
    exact = linear_cross_entropy(states, weight, bias, targets, 0.1)
    rough = linear_cross_entropy(states.bfloat16(), weight, bias, targets, 0.1)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.01)
    assert not exact.requires_grad


def test_no_symbols_cost_nothing() -> None:
    states = torch.zeros(0, 4, requires_grad=True)
    loss = linear_cross_entropy(states, torch.randn(9, 4), torch.zeros(9), torch.zeros(0, dtype=torch.long), 0.1)
    loss.backward()
    assert loss.item() == 0
