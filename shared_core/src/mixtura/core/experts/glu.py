"""Gated MLP experts (SwiGLU, GEGLU)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.configuration import configurable
from mixtura.core.experts.activations import activation_function
from mixtura.core.experts.layouts import Layout
from mixtura.core.experts.mlp import check_sizes
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
        check_sizes(num_experts=num_experts, dim=dim, hidden_dim=hidden_dim)
        out_dim = dim if out_dim is None else out_dim
        self.num_experts = num_experts
        self.activation = activation_function(activation)
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
            hidden = F.dropout(hidden, self.dropout, self.training)
        return layout.linear(hidden, weights["down"], weights["down_bias"])
