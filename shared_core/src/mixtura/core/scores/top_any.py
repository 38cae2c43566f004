"""Every expert decides for itself whether it works."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score

__all__ = ["TopAnyScore"]


@configurable
class TopAnyScore(Score):
    """`z = sigmoid(cos(x, w_e)) - sigmoid(theta_e)`: an expert works where this is positive.

    Use it with `TopAny` (activation "identity") and the losses `ExpertDiversity` and
    `ExpertSimplicity`, which look at the expert vectors kept in `aux`.

    Guo et al., Dynamic Mixture of Experts, ICLR 2025 (arXiv 2405.14297).

    Args:
        dim: width of what the router looks at.
        num_experts: E.
    """

    expert_axes: ClassVar[dict[str, int]] = {"weight": 0, "threshold": 0}

    def __init__(self, dim: int, num_experts: int) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts)
        self.dim = dim
        self.num_experts = num_experts
        self.weight = nn.Parameter(torch.randn(num_experts, dim) / dim**0.5)
        self.threshold = nn.Parameter(torch.zeros(num_experts))

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """How far each expert is above its threshold."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            weight = self.weight.to(precise)
            cosine = F.normalize(x.to(precise), dim=-1) @ F.normalize(weight, dim=-1).T
            logits = torch.sigmoid(cosine) - torch.sigmoid(self.threshold.to(precise))
        return logits, {"expert_vectors": weight}

    def expert_vectors(self) -> Float[Tensor, "routed dim"]:
        """The experts' directions."""
        return self.weight
