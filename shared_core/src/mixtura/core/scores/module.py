"""Scores by any module: a gate that is a network of its own."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score

__all__ = ["ModuleScore"]


@configurable
class ModuleScore(Score):
    """`z = module(x)`, computed in float32: MMoE's gates are small MLPs, for example.

    Args:
        module: from what the router looks at to one logit per expert.
        num_experts: number of logits.
    """

    def __init__(self, module: nn.Module, num_experts: int) -> None:
        super().__init__()
        if num_experts < 1:
            raise InputError(f"a score needs num_experts >= 1, got {num_experts}")
        self.module = module
        self.num_experts = num_experts

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit."""
        with torch.autocast(x.device.type, enabled=False):
            logits = self.module(x.to(torch.promote_types(x.dtype, torch.float32)))
        if logits.shape[-1] != self.num_experts:
            raise InputError(
                f"the gate's module must give {self.num_experts} logits, one for each expert, "
                f"got {logits.shape[-1]}"
            )
        return logits, {}
