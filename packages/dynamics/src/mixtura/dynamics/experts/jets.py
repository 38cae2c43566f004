"""Jets: a value and its derivatives along one direction, carried through a network.

A jet of order n is a list `[x, x', x'', ...]` of n derivatives after the value; `None` stands for a
derivative that is zero. Pushing jets of weights through a network gives the Taylor expansion of its
output in the context at the price of two (n = 1) or about four (n = 2) evaluations, without nested
automatic differentiation inside an ODE solver.

A function that solves a differential equation, such as the sigmoid s' = s (1 - s), carries a jet by
that equation: each derivative follows from those before it, so that any order is had alike.
"""

from collections.abc import Callable, Sequence
from math import comb, factorial

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
    """Jet of `tanh(h)`, whose slope is 1 - y^2."""
    return _by_slope(h, torch.tanh(value(h)), lambda y: _shifted(_negative(product(y, y)), 1.0))


def softplus(h: Jet) -> Jet:
    """Jet of `log(1 + exp(h))`, whose slope is the sigmoid."""
    if len(h) == 1:
        return [F.softplus(value(h))]
    slope = _sigmoid(h[:-1])
    return _by_slope(h, F.softplus(value(h)), lambda y: slope[: len(y)])


def taylor_sum(jet: Jet) -> Tensor:
    """The Taylor polynomial at step one: x + x' + x''/2 + ..."""
    total = value(jet)
    for order, derivative in enumerate(jet[1:], 1):
        if derivative is not None:
            total = torch.add(total, derivative, alpha=1 / factorial(order))
    return total


def _sigmoid(h: Jet) -> Jet:
    """Jet of the sigmoid s, whose slope is s - s^2."""
    return _by_slope(h, torch.sigmoid(value(h)), lambda s: add(s, _negative(product(s, s))))


def _by_slope(h: Jet, zeroth: Tensor, slope: Callable[[Jet], Jet]) -> Jet:
    """Jet of f(h), entry by entry, by the chain rule.

    `slope` gives the jet of the derivative of f, at h, from the entries of f(h) known so far.
    """
    jet: Jet = [zeroth]
    while len(jet) < len(h):
        following = product(slope(jet), h[1 : len(jet) + 1])
        jet.append(following[-1])
    return jet


def _negative(a: Jet) -> Jet:
    return [None if d is None else -d for d in a]


def _shifted(a: Jet, constant: float) -> Jet:
    return [value(a) + constant, *a[1:]]


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
