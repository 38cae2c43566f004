"""All: dense mixtures, every expert for every unit."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection, token_choice

__all__ = ["All"]


@configurable
class All(Selection):
    """Every expert that a unit may go to; the scores are the combine weights.

    The gates of dense mixtures: Jacobs et al., Adaptive Mixtures of Local Experts, 1991; MMoE (Ma
    et al., KDD 2018).
    """

    ranks = False

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The routing of each unit to all experts, in their order."""
        units, routed = scored.scores.shape
        index = torch.arange(routed, device=scored.scores.device).expand(units, routed)
        return token_choice(
            scored, index, scored.scores, scored.allowed, num_experts=num_experts, mask=mask
        )
