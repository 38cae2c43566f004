"""Two-layer MLP experts."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.dropout import dropout
from mixtura.core.experts.activations import activation_function, activation_gradient
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
        self, rows: Tensor, weights: Mapping[str, Any], layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """Outputs, and the hidden units before the activation."""
        before = layout.linear(rows, weights["up"], weights["up_bias"])
        hidden = activation_function(self.name)(before)
        return layout.linear(hidden, weights["down"], weights["down_bias"]), before

    def backward(
        self,
        grad: Tensor,
        gate: Tensor,
        rows: Tensor,
        kept: Tensor,
        weights: Mapping[str, Any],
        layout: Layout,
        into: dict[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Derivatives of the weighted outputs."""
        hidden = activation_function(self.name)(kept)
        grad_hidden = layout.rows_gradient(grad, weights["down"])
        grad_gate = (grad_hidden * hidden).sum(-1, keepdim=True)
        if weights["down_bias"] is not None:
            grad_gate += (grad * layout.vector(weights["down_bias"])).sum(-1, keepdim=True)
        layout.weight_gradient(grad, hidden * gate, into, "down")
        if "down_bias" in into:
            layout.bias_gradient(grad * gate, into, "down_bias")
        grad_hidden = activation_gradient(self.name, grad_hidden.mul_(gate), kept, grad_hidden)
        layout.weight_gradient(grad_hidden, rows, into, "up")
        layout.bias_gradient(grad_hidden, into, "up_bias")
        return layout.rows_gradient(grad_hidden, weights["up"]), grad_gate
