"""Cosine scores: one prototype per expert, compared by angle."""

import math
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score

__all__ = ["CosineScore"]

SMALLEST_TEMPERATURE = 0.01


@configurable
class CosineScore(Score):
    """`z = cos(W x, p_e) / tau`, computed in float32.

    Without the projection W and without tau these are ProMoE's prototypes (arXiv 2510.24711,
    section 3): a logit is a cosine and may be negative. With both it is the router of Chi et al.,
    On the Representation Collapse of Sparse Mixture of Experts, NeurIPS 2022 (arXiv 2204.09179,
    eq. 4-5), as Tutel has it.

    The unit-length prototypes are kept as `aux["prototypes"]`, for losses.

    Args:
        dim: width of what the router looks at.
        num_experts: number of prototypes.
        projection: width in which the angle is taken; no projection when not given.
        temperature: initial value of the learned tau, which never falls below 0.01; no tau when
            not given.
        std: standard deviation of the initial prototypes.
    """

    expert_axes: ClassVar[dict[str, int]] = {"prototypes": 0}

    def __init__(
        self,
        dim: int,
        num_experts: int,
        *,
        projection: int | None = None,
        temperature: float | None = None,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts, projection=projection)
        check_number("std", std, least=0)
        width = dim if projection is None else projection
        if temperature is not None and temperature < SMALLEST_TEMPERATURE:
            raise InputError(
                f"the temperature of a cosine score starts at {SMALLEST_TEMPERATURE} or above, "
                f"got {temperature}"
            )
        self.dim = dim
        self.num_experts = num_experts
        self.prototypes = nn.Parameter(torch.empty(num_experts, width))
        self.projection = None if projection is None else nn.Linear(dim, projection, bias=False)
        self.log_scale = (
            None if temperature is None else nn.Parameter(torch.tensor(-math.log(temperature)))
        )
        nn.init.normal_(self.prototypes, std=std)

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            x = x.to(precise)
            if self.projection is not None:
                x = F.linear(x, self.projection.weight.to(precise))
            prototypes = F.normalize(self.prototypes.to(precise), dim=-1, eps=1e-12)
            logits = F.linear(F.normalize(x, dim=-1, eps=1e-12), prototypes)
            if self.log_scale is not None:
                scale = self.log_scale.clamp_max(-math.log(SMALLEST_TEMPERATURE)).exp()
                logits = logits * scale.to(precise)
        return logits, {"prototypes": prototypes}

    def expert_vectors(self) -> Float[Tensor, "routed width"]:
        """The prototypes."""
        return self.prototypes
