"""Noisy linear scores."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score
from mixtura.core.scores.precise_linear import precise_linear

__all__ = ["NoisyLinearScore"]


@configurable
class NoisyLinearScore(Score):
    """`z = x W_g + e * softplus(x W_n)` with `e ~ N(0, 1)` in training, without noise otherwise.

    Both matrices start at zero, so that load is even at first. Use it with
    `TopK(k, renormalize="softmax")`. It keeps `clean_logits` (for the z-loss) and, in training,
    `noisy_logits` and `noise_std` (for `SmoothLoad`).

    Shazeer et al., Outrageously Large Neural Networks, 2017 (arXiv 1701.06538, eq. 3-5).

    Args:
        dim: width of what the router looks at.
        num_experts: number of logits.
    """

    expert_axes: ClassVar[dict[str, int]] = {"weight": 0, "noise_weight": 0}

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts)
        self.dim = dim
        self.num_experts = num_experts
        self.weight = nn.Parameter(torch.zeros(num_experts, dim))
        self.noise_weight = nn.Parameter(torch.zeros(num_experts, dim))
        self.noisy = True

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit."""
        clean = precise_linear(x, self.weight)
        if not (self.training and self.noisy):
            return clean, {"clean_logits": clean}
        std = F.softplus(precise_linear(x, self.noise_weight))
        logits = clean + torch.randn_like(clean) * std
        return logits, {"clean_logits": clean, "noisy_logits": logits, "noise_std": std}

    def expert_vectors(self) -> Float[Tensor, "routed dim"]:
        """The weight rows."""
        return self.weight
