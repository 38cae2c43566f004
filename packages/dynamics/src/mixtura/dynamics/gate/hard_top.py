"""Hard top-1 whose winners are not weighted by their probability."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core import InputError, Routing, configurable
from mixtura.core.scores import Scored
from mixtura.core.selections import Selection

__all__ = ["HardTop"]


@configurable
class HardTop(Selection):
    """Every expert whose score exceeds the best one less `tolerance`, each with weight one.

    Apart from exact ties this is one expert per unit. The weight is a constant, so no gradient
    reaches the router: it has to be fitted in another way (`ClosedFormGate`). For a gate that the
    task's gradient trains, use `TopK(1, renormalize="never")`.

    Nzoyem et al., MixER, 2025, arXiv 2502.05335.

    Args:
        tolerance: how close to the best score counts as a tie.
    """

    def __init__(self, tolerance: float = 1e-6) -> None:
        super().__init__()
        if tolerance <= 0:
            raise InputError(f"tolerance must be positive, got {tolerance}")
        self.tolerance = tolerance

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The routing of each unit to its winner, or to all that tie."""
        scores = scored.scores.detach()
        winners = scores > scores.amax(1, keepdim=True) - self.tolerance
        about = {"mask": mask, "logits": scored.logits, "scores": scored.scores, "aux": scored.aux}
        most = int(winners.sum(1).max()) if len(winners) else 1
        if most <= 1:
            index = scores.argmax(1, keepdim=True)
            weight = torch.ones_like(index, dtype=scores.dtype)
            return Routing.from_choices(index, weight, num_experts=num_experts, **about)
        index = winners.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        valid = winners.gather(1, index)
        weight = valid.to(scores.dtype)
        return Routing.from_choices(index, weight, valid, num_experts=num_experts, **about)
