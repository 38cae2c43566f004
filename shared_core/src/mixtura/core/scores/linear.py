"""Linear scores: one weight row per expert."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score
from mixtura.core.scores.precise_linear import precise_linear

__all__ = ["LinearScore"]


@configurable
class LinearScore(Score):
    """`z = x W^T (+ b)`, computed in float32.

    Shazeer et al., Outrageously Large Neural Networks, 2017 (arXiv 1701.06538).

    Args:
        dim: width of what the router looks at.
        num_experts: number of logits.
        bias: whether each expert has an offset.
        std: standard deviation of the initial weights; 0.1 / sqrt(dim) when not given.
    """

    expert_axes: ClassVar[dict[str, int]] = {"weight": 0, "bias": 0}

    def __init__(
        self, dim: int, num_experts: int, *, bias: bool = False, std: float | None = None
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts)
        check_number("std", std or 0.0, least=0)
        self.dim = dim
        self.num_experts = num_experts
        self.weight = nn.Parameter(torch.empty(num_experts, dim))
        self.bias = nn.Parameter(torch.zeros(num_experts)) if bias else None
        nn.init.normal_(self.weight, std=0.1 / dim**0.5 if std is None else std)

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit."""
        return precise_linear(x, self.weight, self.bias), {}

    def expert_vectors(self) -> Float[Tensor, "routed dim"]:
        """The weight rows."""
        return self.weight
