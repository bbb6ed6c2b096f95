"""Dropout: torch's own, with other random numbers."""

from __future__ import annotations

import pytest
import torch

from korseq.nn.dropout import Dropout

SIZE = 200_000


@pytest.mark.parametrize("p", [0.01, 0.25, 0.4, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_right_share_goes_and_the_rest_grows(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    output = Dropout(p)(torch.ones(SIZE, dtype=dtype))
    kept = output != 0
    assert kept.float().mean() == pytest.approx(1 - p, abs=4 * (p * (1 - p) / SIZE) ** 0.5)
    expected = torch.full_like(output[kept], 1 / (1 - p))
    assert torch.allclose(output[kept], expected, rtol=2e-4 if dtype == torch.float32 else 1e-2)


def test_elements_are_dropped_independently() -> None:
    """Four neighbours share one random number, of which each has its own bits."""
    torch.manual_seed(2)
    kept = (Dropout(0.5)(torch.ones(SIZE)) != 0).float().view(-1, 4)
    correlation = torch.corrcoef(kept.T) - torch.eye(4)
    assert correlation.abs().max() < 0.02


@pytest.mark.parametrize("shape", [(0, 3), (), (5,), (2, 3, 7)])
def test_gradients_go_where_values_went(shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    vectors = torch.randn(shape, requires_grad=True)
    output = Dropout(0.4)(vectors)
    assert output.shape == vectors.shape
    output.sum().backward()
    assert vectors.grad is not None
    assert torch.allclose(vectors.grad * vectors, output)


def test_a_seed_repeats_it_and_evaluation_drops_nothing() -> None:
    dropout, vectors = Dropout(0.3), torch.randn(50, 7).transpose(0, 1)
    torch.manual_seed(4)
    first = dropout(vectors)
    torch.manual_seed(4)
    assert torch.equal(first, dropout(vectors))
    assert not torch.equal(first, dropout(vectors))
    assert dropout.eval()(vectors) is vectors


def test_the_whole_vector_may_go() -> None:
    assert torch.equal(Dropout(1.0)(torch.ones(5)), torch.zeros(5))
