"""Recurrent experts."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.layouts import Batched, Grouped, Layout
from mixtura.core.experts.stacked import StackedExperts

__all__ = ["GRUExperts"]


@configurable
class GRUExperts(StackedExperts):
    """A GRU over the positions of a unit (positions, dim), started at zero.

    `r, z = sigmoid(W x + U h)`, `n = tanh(W x + b + r (U h + c))`, `h' = (1 - z) n + z h`; gates in
    the order r, z, n like `torch.nn.GRU` (Cho et al., 2014, arXiv 1406.1078). All experts with as
    many units take a step together.

    Args:
        num_experts: E.
        dim: width of a position.
        hidden_dim: width of the state and of the output.
        last: give the last state (hidden_dim) instead of all of them (positions, hidden_dim).
        skip_zeros: positions that are all zeros, as padding is written, leave the state as it is;
            with `last`, sequences of different lengths then end where they end.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        hidden_dim: int,
        *,
        last: bool = False,
        skip_zeros: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts, dim=dim, hidden_dim=hidden_dim)
        self.dim = dim
        self.num_experts = num_experts
        self.last = last
        self.skip_zeros = skip_zeros
        self.input = nn.Parameter(torch.empty(num_experts, 3 * hidden_dim, dim))
        self.state = nn.Parameter(torch.empty(num_experts, 3 * hidden_dim, hidden_dim))
        self.input_bias = nn.Parameter(torch.empty(num_experts, 3 * hidden_dim))
        self.state_bias = nn.Parameter(torch.empty(num_experts, 3 * hidden_dim))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden_dim), 1 / math.sqrt(hidden_dim))

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Layout) -> Tensor:
        """All positions, one after the other."""
        if rows.ndim < (4 if isinstance(layout, Batched) else 3):
            raise InputError(
                "a unit for a GRU expert is a sequence (positions, dim); use segments, samples or "
                "another kind of expert"
            )
        driven = layout.linear(rows, weights["input"], weights["input_bias"])
        hidden = driven.new_zeros(*driven.shape[:-2], driven.shape[-1] // 3)
        states = []
        real = (rows != 0).any(-1, keepdim=True) if self.skip_zeros else None
        for position, step in enumerate(driven.unbind(-2)):
            recurrent = layout.linear(hidden, weights["state"], weights["state_bias"])
            (r, z, n), (ur, uz, un) = step.chunk(3, -1), recurrent.chunk(3, -1)
            z = torch.sigmoid(z + uz)
            new = torch.tanh(n + torch.sigmoid(r + ur) * un)
            after = torch.lerp(new, hidden, z)
            hidden = after if real is None else torch.where(real[..., position, :], after, hidden)
            states.append(hidden)
        return hidden if self.last else torch.stack(states, -2)

    def grouped(self, rows: Tensor, routing: Any) -> Tensor:
        """Outputs for rows in the experts' order; the grouped product takes a step at a time."""
        layout = Grouped(routing.offsets, routing.sorted_expert)
        return self.compute(rows, self.weights(), _StepByStep(layout))


class _StepByStep(Layout):
    """Grouped rows with positions: each position is a group of its own kind."""

    def __init__(self, layout: Grouped) -> None:
        self.layout = layout

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """The product for each position."""
        if rows.ndim == 2:
            return self.layout.linear(rows, weight, bias)
        products = [self.layout.linear(step, weight, bias) for step in rows.unbind(1)]
        return torch.stack(products, 1)

    def vector(self, parameter: Tensor) -> Tensor:
        """Each row's own, for all positions."""
        return self.layout.vector(parameter)
