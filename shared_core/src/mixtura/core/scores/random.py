"""A router that tosses."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score

__all__ = ["RandomScore"]


@configurable
class RandomScore(Score):
    """Gumbel logits: every expert is as likely as any other. For debugging and as a baseline.

    Args:
        num_experts: number of logits.
    """

    def __init__(self, num_experts: int) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts)
        self.num_experts = num_experts

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Fresh logits at each call."""
        uniform = torch.rand(len(x), self.num_experts, device=x.device).clamp_min(1e-20)
        return -(-uniform.log()).clamp_min(1e-20).log(), {}
