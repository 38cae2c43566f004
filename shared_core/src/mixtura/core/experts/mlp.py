"""Two-layer MLP experts."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.dropout import dropout
from mixtura.core.experts.activations import (
    activate_,
    activation_function,
    activation_gradient,
)
from mixtura.core.experts.kernel import Keep
from mixtura.core.experts.layouts import Layout
from mixtura.core.experts.stacked import StackedExperts, init_per_expert

__all__ = ["MLPExperts"]


@configurable
class MLPExperts(StackedExperts):
    """`down(dropout(act(up(x))))`, weights (experts, out, in).

    Args:
        num_experts: E.
        dim: width of a row.
        hidden_dim: width inside an expert.
        out_dim: width of an output row; `dim` when not given.
        activation: elu, gelu, gelu_tanh, identity, leaky_relu, mish, quick_gelu, relu,
            relu_squared, sigmoid, silu or tanh.
        bias: whether the two layers have offsets.
        dropout: on the hidden activations, in training.
    """

    up_bias: nn.Parameter | None
    down_bias: nn.Parameter | None

    def __init__(
        self,
        num_experts: int,
        dim: int,
        hidden_dim: int,
        *,
        out_dim: int | None = None,
        activation: str = "gelu",
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts, dim=dim, hidden_dim=hidden_dim, out_dim=out_dim)
        check_number("dropout", dropout, least=0, below=1)
        out_dim = dim if out_dim is None else out_dim
        self.dim = dim
        self.num_experts = num_experts
        self.activation = activation_function(activation)
        self.kernel = MLPKernel(activation)
        self.dropout = dropout
        self.up = nn.Parameter(torch.empty(num_experts, hidden_dim, dim))
        self.down = nn.Parameter(torch.empty(num_experts, out_dim, hidden_dim))
        self.register_parameter(
            "up_bias", nn.Parameter(torch.zeros(num_experts, hidden_dim)) if bias else None
        )
        self.register_parameter(
            "down_bias", nn.Parameter(torch.zeros(num_experts, out_dim)) if bias else None
        )
        init_per_expert(self.up)
        init_per_expert(self.down)

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Layout) -> Tensor:
        """The MLP."""
        hidden = self.activation(layout.linear(rows, weights["up"], weights["up_bias"]))
        if self.dropout:
            hidden = dropout(hidden, self.dropout, self.training)
        return layout.linear(hidden, weights["down"], weights["down_bias"])


class MLPKernel:
    """The MLP and its derivative; keeps what the activation saw.

    Args:
        activation: between the two layers.
    """

    def __init__(self, activation: str) -> None:
        self.name = activation

    def forward(
        self,
        rows: Tensor,
        weights: Mapping[str, Any],
        layout: Layout,
        keep: Keep,
        out: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs; the hidden units before the activation, and after it."""
        before = layout.linear(rows, weights["up"], weights["up_bias"])
        del rows
        kept: tuple[Tensor, ...] = ()
        if keep == Keep.NOTHING:
            hidden = activate_(self.name, before)
        else:
            hidden = activation_function(self.name)(before)
            kept = (before,) if keep == Keep.LEAST else (before, hidden)
        return layout.outputs(hidden, weights["down"], weights["down_bias"], out), kept

    def backward(
        self,
        grad: Tensor,
        gate: Tensor | None,
        rows: Tensor,
        kept: tuple[Tensor, ...],
        weights: Mapping[str, Any],
        layout: Layout,
        into: dict[str, Any],
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Derivatives of the weighted outputs."""
        before, *made = kept
        hidden = made[0] if made else activation_function(self.name)(before)
        grad_hidden = layout.rows_gradient(grad, weights["down"])
        grad_gate = None
        if gate is not None:
            grad_gate = (grad_hidden * hidden).sum(-1, keepdim=True)
            if weights["down_bias"] is not None:
                grad_gate += (grad * layout.vector(weights["down_bias"])).sum(-1, keepdim=True)
            hidden = hidden * gate
            grad_hidden.mul_(gate)
        layout.weight_gradient(grad, hidden, into, "down")
        del hidden
        if "down_bias" in into:
            layout.bias_gradient(grad if gate is None else grad * gate, into, "down_bias")
        del grad
        grad_hidden = activation_gradient(self.name, grad_hidden, before, grad_hidden)
        layout.weight_gradient(grad_hidden, rows, into, "up")
        layout.bias_gradient(grad_hidden, into, "up_bias")
        return layout.rows_gradient(grad_hidden, weights["up"], out), grad_gate
