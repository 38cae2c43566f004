"""Even load by decree."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection

__all__ = ["ForceBalanced"]


@configurable
class ForceBalanced(Selection):
    """Unit u takes the experts u k, u k + 1, ... (modulo R), weighted by its renormalised scores.

    For debugging and for throughput measurements without imbalance.

    Args:
        k: experts per unit.
    """

    activations = frozenset({"softmax", "sigmoid"})
    causal = False

    def __init__(self, k: int) -> None:
        super().__init__()
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}")
        self.k = k

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """Round and round."""
        units, routed = scored.scores.shape
        if self.k > routed:
            raise InputError(f"k must be at most the number of experts ({routed}), got {self.k}")
        flat = torch.arange(units * self.k, device=scored.scores.device) % routed
        index = flat.view(units, self.k)
        weight = scored.scores.gather(-1, index)
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-20)
        return Routing.from_choices(
            index,
            weight,
            num_experts=num_experts,
            mask=mask,
            logits=scored.logits,
            scores=scored.scores,
            aux=scored.aux,
        )
