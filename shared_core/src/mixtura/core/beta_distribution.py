"""The cumulative distribution function of the Beta distribution, with its gradient."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["beta_cdf"]


class _BetaCDF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, a: float, b: float) -> Tensor:
        ctx.save_for_backward(p)
        ctx.a, ctx.b = a, b
        return _regularized(p.double(), a, b).to(p.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (p,) = ctx.saved_tensors
        p = p.double()
        a, b = ctx.a, ctx.b
        log_density = (a - 1) * p.log() + (b - 1) * torch.log1p(-p) - _log_beta(a, b)
        return grad * log_density.exp().to(grad.dtype), None, None


def beta_cdf(p: Float[Tensor, "*shape"], a: float, b: float) -> Float[Tensor, "*shape"]:
    """P(X <= p) for X ~ Beta(a, b); the gradient is the density.

    The continued fraction of the incomplete beta function by Lentz's method (Abramowitz & Stegun
    26.5.8), in float64.

    Args:
        p: strictly between 0 and 1.
        a: positive.
        b: positive.
    """
    return _BetaCDF.apply(p, a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _regularized(p: Tensor, a: float, b: float) -> Tensor:
    swap = p > (a + 1) / (a + b + 2)
    x = torch.where(swap, 1 - p, p)
    first = torch.where(swap, b, a).to(x)
    second = torch.where(swap, a, b).to(x)
    front = (first * x.log() + second * torch.log1p(-x) - _log_beta(a, b)).exp() / first
    value = front * _continued_fraction(x, first, second)
    return torch.where(swap, 1 - value, value)


def _continued_fraction(x: Tensor, a: Tensor, b: Tensor, terms: int = 200) -> Tensor:
    tiny = 1e-300
    c = torch.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d.clone()
    for m in range(1, terms):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = torch.ones_like(x)
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d, tiny)
            c = _away_from_zero(1 + term / c, tiny)
            step = c * d
            value = value * step
        if float((step - 1).abs().max() if step.numel() else 0.0) < 1e-14:
            break
    return value


def _away_from_zero(x: Tensor, tiny: float) -> Tensor:
    return torch.where(x.abs() < tiny, tiny, x)
