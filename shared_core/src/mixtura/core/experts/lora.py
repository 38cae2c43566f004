"""Low-rank experts."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.experts.layouts import Layout
from mixtura.core.experts.stacked import StackedExperts, init_per_expert
from mixtura.core.routing import Routing

__all__ = ["LoRAExperts"]

WIDEST_BOTTLENECK = 512


@configurable
class LoRAExperts(StackedExperts):
    """`scale * B_e A_e x`: a few directions of change beside a layer that all units share.

    The shared layer is the layer's shared expert, computed once per unit (ASE, for example: the
    frozen FFN). B starts at zero, so that the experts start by changing nothing (Hu et al., LoRA,
    arXiv 2106.09685).

    `mix` needs no gather: all A are one matrix and all B another, and the gates multiply the
    bottleneck between them, zero for an expert that was not chosen. For E * r up to a few hundred
    these two thin products cost less than moving the rows.

    Args:
        num_experts: E.
        dim: width of a row.
        rank: r.
        out_dim: width of an output row; `dim` when not given.
        scale: factor on the outputs (alpha / r).
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        rank: int,
        *,
        out_dim: int | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        check_sizes(num_experts=num_experts, dim=dim, rank=rank, out_dim=out_dim)
        check_number("scale", scale)
        self.dim = dim
        self.num_experts = num_experts
        self.scale = scale
        self.prefers_mix = num_experts * rank <= WIDEST_BOTTLENECK
        self.A = nn.Parameter(torch.empty(num_experts, rank, dim))
        self.B = nn.Parameter(torch.zeros(num_experts, out_dim, rank))
        init_per_expert(self.A, lambda matrix: nn.init.kaiming_uniform_(matrix, a=math.sqrt(5)))

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Layout) -> Tensor:
        """Down to the rank and up again."""
        output = layout.linear(layout.linear(rows, weights["A"]), weights["B"])
        return output if self.scale == 1.0 else self.scale * output

    def mix(self, x: Float[Tensor, "units *rest"], routing: Routing) -> Float[Tensor, "units *out"]:
        """The weighted sum over each unit's experts: a bottleneck of width E * r, masked."""
        experts, rank, _ = self.A.shape
        hidden = F.linear(x, self.A.flatten(0, 1))
        gate = routing.dense_weight if self.scale == 1.0 else self.scale * routing.dense_weight
        gate = gate.view(len(x), *[1] * (x.ndim - 2), experts, 1).to(hidden.dtype)
        hidden = (hidden.unflatten(-1, (experts, rank)) * gate).flatten(-2)
        return F.linear(hidden, self.B.transpose(0, 1).flatten(1))
