"""Linear experts."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.experts.layouts import Layout
from mixtura.core.experts.stacked import StackedExperts, init_per_expert

__all__ = ["LinearExperts"]


@configurable
class LinearExperts(StackedExperts):
    """`W_e x + b_e`.

    Jacobs et al., Adaptive Mixtures of Local Experts, 1991.

    Args:
        num_experts: E.
        dim: width of a row.
        out_dim: width of an output row; `dim` when not given.
        bias: whether there are offsets.
    """

    def __init__(
        self, num_experts: int, dim: int, out_dim: int | None = None, *, bias: bool = True
    ) -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        check_sizes(num_experts=num_experts, dim=dim, out_dim=out_dim)
        self.dim = dim
        self.num_experts = num_experts
        self.weight = nn.Parameter(torch.empty(num_experts, out_dim, dim))
        self.register_parameter(
            "bias", nn.Parameter(torch.zeros(num_experts, out_dim)) if bias else None
        )
        init_per_expert(self.weight)

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Layout) -> Tensor:
        """The linear map."""
        return layout.linear(rows, weights["weight"], weights["bias"])
