"""Jets: a value and its derivatives along one direction, carried through a network.

A jet of order n is a list `[x, x', x'']` cut after n derivatives; `None` stands for a derivative
that is zero. Pushing jets of weights through a network gives the Taylor expansion of its output in
the context at the price of two (n = 1) or about four (n = 2) evaluations, without nested automatic
differentiation inside an ODE solver.
"""

from collections.abc import Sequence
from math import comb

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "Jet",
    "add",
    "affine",
    "product",
    "relu",
    "softplus",
    "swish",
    "tanh",
    "taylor_sum",
    "value",
]

Jet = list[Tensor | None]


def value(jet: Jet) -> Tensor:
    """The jet at order zero, which is never left out."""
    first = jet[0]
    assert first is not None
    return first


def product(a: Jet, b: Jet) -> Jet:
    """Jet of the elementwise product (Leibniz' rule)."""
    return _leibniz(a, b, torch.mul)


def affine(x: Jet, weight: Jet, bias: Jet) -> Jet:
    """Jet of `x W^T + b`: x (n, rows, in), W (n, out, in), b (n, 1, out)."""
    transposed = [None if w is None else w.transpose(1, 2) for w in weight]
    return add(_leibniz(x, transposed, torch.bmm), bias)


def add(a: Jet, b: Jet) -> Jet:
    """Jet of a sum."""
    return [_sum([u, v]) for u, v in zip(a, b, strict=True)]


def swish(h: Jet, beta: Jet) -> Jet:
    """Jet of `h sigmoid(beta h)`."""
    return product(h, _sigmoid(product(beta, h)))


def relu(h: Jet) -> Jet:
    """Jet of `max(h, 0)`."""
    on = (value(h) > 0).to(value(h).dtype)
    return [None if d is None else d * on for d in h]


def tanh(h: Jet) -> Jet:
    """Jet of `tanh(h)`."""
    y = torch.tanh(value(h))
    return _chain(h, y, 1 - y * y, -2 * y * (1 - y * y))


def softplus(h: Jet) -> Jet:
    """Jet of `log(1 + exp(h))`."""
    s = torch.sigmoid(value(h))
    return _chain(h, F.softplus(value(h)), s, s * (1 - s))


def taylor_sum(jet: Jet) -> Tensor:
    """The Taylor polynomial at step one: x + x' + x''/2."""
    total = value(jet)
    for order, derivative in enumerate(jet[1:], 1):
        if derivative is not None:
            total = total + derivative / (1, 1, 2)[order]
    return total


def _sigmoid(h: Jet) -> Jet:
    s = torch.sigmoid(value(h))
    slope = s * (1 - s)
    return _chain(h, s, slope, slope * (1 - 2 * s))


def _chain(h: Jet, zeroth: Tensor, first: Tensor, second: Tensor) -> Jet:
    """Jet of f(h) from f, f' and f'' at h (Faa di Bruno up to order two)."""
    jet: Jet = [zeroth]
    if len(h) > 1:
        jet.append(None if h[1] is None else first * h[1])
    if len(h) > 2:
        terms = [None if h[2] is None else first * h[2]]
        terms.append(None if h[1] is None else second * h[1] * h[1])
        jet.append(_sum(terms))
    return jet


def _leibniz(a: Jet, b: Jet, multiply) -> Jet:
    jet: Jet = []
    for order in range(len(a)):
        terms = []
        for k in range(order + 1):
            u, v = a[k], b[order - k]
            if u is not None and v is not None:
                term = multiply(u, v)
                terms.append(term if comb(order, k) == 1 else comb(order, k) * term)
        jet.append(_sum(terms))
    return jet


def _sum(terms: Sequence[Tensor | None]) -> Tensor | None:
    present = [term for term in terms if term is not None]
    if not present:
        return None
    total = present[0]
    for term in present[1:]:
        total = total + term
    return total
