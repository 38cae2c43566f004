"""Gated MLP experts (SwiGLU, GEGLU)."""

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

__all__ = ["GLUExperts"]


@configurable
class GLUExperts(StackedExperts):
    """`down(dropout(act(gate(x)) * up(x)))`; gate and up are one matrix, gate rows first.

    Shazeer, GLU Variants Improve Transformer, 2020 (arXiv 2002.05202).

    Args:
        num_experts: E.
        dim: width of a row.
        hidden_dim: width inside an expert.
        out_dim: width of an output row; `dim` when not given.
        activation: on the gate: silu gives SwiGLU, gelu gives GEGLU.
        bias: whether the layers have offsets.
        dropout: on the hidden activations, in training.
    """

    gate_up_bias: nn.Parameter | None
    down_bias: nn.Parameter | None

    def __init__(
        self,
        num_experts: int,
        dim: int,
        hidden_dim: int,
        *,
        out_dim: int | None = None,
        activation: str = "silu",
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
        self.kernel = GLUKernel(activation)
        self.dropout = dropout
        self.gate_up = nn.Parameter(torch.empty(num_experts, 2 * hidden_dim, dim))
        self.down = nn.Parameter(torch.empty(num_experts, out_dim, hidden_dim))
        self.register_parameter(
            "gate_up_bias", nn.Parameter(torch.zeros(num_experts, 2 * hidden_dim)) if bias else None
        )
        self.register_parameter(
            "down_bias", nn.Parameter(torch.zeros(num_experts, out_dim)) if bias else None
        )
        init_per_expert(self.gate_up)
        init_per_expert(self.down)

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Layout) -> Tensor:
        """The gated MLP."""
        both = layout.linear(rows, weights["gate_up"], weights["gate_up_bias"])
        gate, up = both.chunk(2, -1)
        hidden = self.activation(gate) * up
        if self.dropout:
            hidden = dropout(hidden, self.dropout, self.training)
        return layout.linear(hidden, weights["down"], weights["down_bias"])


class GLUKernel:
    """The gated MLP and its derivative; keeps gate and up before the activation.

    Args:
        activation: on the gate.
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
        """Outputs; gate and up in one tensor, and what the activation made of the gate."""
        kept: tuple[Tensor, ...] = ()
        if keep == Keep.NOTHING:
            gated, up = layout.halves(rows, weights["gate_up"], weights["gate_up_bias"])
            del rows
            hidden = activate_(self.name, gated).mul_(up)
        else:
            both = layout.linear(rows, weights["gate_up"], weights["gate_up_bias"])
            del rows
            gated, up = both.chunk(2, -1)
            activated = activation_function(self.name)(gated)
            hidden = activated * up
            kept = (both,) if keep == Keep.LEAST else (both, activated)
            del both, activated
        del gated, up
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
        both, *made = kept
        gated, up = both.chunk(2, -1)
        activated = made[0] if made else activation_function(self.name)(gated)
        if layout.padded and not made:
            hidden, activated = activated.mul_(up), None
        else:
            hidden = activated * up
        grad_gate = grad_hidden = None
        if gate is not None:
            grad_hidden = layout.rows_gradient(grad, weights["down"])
            grad_gate = (grad_hidden * hidden).sum(-1, keepdim=True)
            if weights["down_bias"] is not None:
                grad_gate += (grad * layout.vector(weights["down_bias"])).sum(-1, keepdim=True)
            hidden.mul_(gate)
            grad_hidden.mul_(gate)
        layout.weight_gradient(grad, hidden, into, "down")
        del hidden
        if "down_bias" in into:
            layout.bias_gradient(grad if gate is None else grad * gate, into, "down_bias")
        if grad_hidden is None:
            grad_hidden = layout.rows_gradient(grad, weights["down"])
        del grad
        grad_both = torch.empty_like(both)
        grad_gated, grad_up = grad_both.chunk(2, -1)
        if activated is None:
            activate_(self.name, grad_up.copy_(gated)).mul_(grad_hidden)
        else:
            torch.mul(grad_hidden, activated, out=grad_up)
        activation_gradient(self.name, grad_hidden.mul_(up), gated, grad_gated)
        del grad_hidden, activated
        layout.weight_gradient(grad_both, rows, into, "gate_up")
        layout.bias_gradient(grad_both, into, "gate_up_bias")
        return layout.rows_gradient(grad_both, weights["gate_up"], out), grad_gate
