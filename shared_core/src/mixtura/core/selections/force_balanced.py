"""Even load by decree."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection, token_choice

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
    ranks = False

    def __init__(self, k: int) -> None:
        super().__init__()
        check_sizes(k=k)
        self.k = k

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """Enough experts, and every unit may go to every one of them."""
        if self.k > score.num_experts:
            raise InputError(
                f"k must be at most the number of experts ({score.num_experts}), got {self.k}"
            )
        if score.restricts:
            raise InputError(
                f"{type(score).__name__} lets a unit go to some experts only, which an even load "
                "by decree cannot respect; choose another selection"
            )

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """Round and round."""
        units, routed = scored.scores.shape
        flat = torch.arange(units * self.k, device=scored.scores.device) % routed
        index = flat.view(units, self.k)
        weight = scored.scores.gather(-1, index)
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-20)
        valid = None if scored.allowed is None else scored.allowed.gather(-1, index)
        return token_choice(scored, index, weight, valid, num_experts=num_experts, mask=mask)
