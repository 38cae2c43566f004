"""Dropout that draws four decisions at once."""

import pytest
import torch

from mixtura.core.dropout import Dropout, dropout


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_share_scale_and_gradient(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(100, 1001, dtype=dtype, requires_grad=True)
    y = dropout(x, p)
    zero = y == 0
    assert float(zero.double().mean()) == pytest.approx(p, abs=0.005)
    kept = y[~zero].detach().double()
    assert kept.unique().numel() == 1
    assert float(kept[0]) == pytest.approx(
        1 / (1 - p), rel=1e-2 if dtype == torch.bfloat16 else 1e-3
    )
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    zero = (dropout(torch.ones(400_000), 0.5) == 0).double().view(-1, 4)
    correlation = torch.corrcoef(zero.T) - torch.eye(4)
    assert float(correlation.abs().max()) < 0.01


def test_follows_the_global_generator_and_leaves_evaluation_alone() -> None:
    x = torch.randn(7, 3)
    torch.manual_seed(3)
    first = dropout(x, 0.3)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x, 0.3))
    module = Dropout(0.3).eval()
    assert module(x) is x
    assert torch.equal(dropout(x, 1.0), torch.zeros_like(x))
    assert dropout(torch.empty(0, 4), 0.5).shape == (0, 4)
