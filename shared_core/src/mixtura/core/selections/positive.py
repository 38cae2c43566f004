"""ReLU routing: every expert with a positive score."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.precise import PreciseBuffers
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.active import active_routing, check_bounds
from mixtura.core.selections.base import Selection

__all__ = ["Positive"]


@configurable
class Positive(PreciseBuffers, Selection):
    """The experts whose score is above zero, with the scores as weights; fully differentiable.

    With the activation relu this is ReMoE (ICLR 2025, arXiv 2412.14711): `ActiveScores` presses on
    the scores, with the coefficient that `SparsityControl` keeps in this selection. With smooth
    gates that become exactly zero (`DSelectScore`) it drops those that are.

    Args:
        max_k: of more positive experts only the best so many are taken.
        coefficient: coefficient of the regulariser at the start.
    """

    activations = frozenset({"relu", "identity"})
    takes = frozenset({"members"})
    ranks = False
    coefficient: Tensor

    def __init__(self, *, max_k: int | None = None, coefficient: float = 1e-8) -> None:
        super().__init__()
        check_bounds(0, max_k)
        check_number("coefficient", coefficient, above=0)
        self.max_k = max_k
        self.register_buffer("coefficient", torch.tensor(float(coefficient)))

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The experts with a positive score."""
        scored.aux["coefficient"] = self.coefficient
        return active_routing(
            scored,
            scored.scores > 0,
            scored.scores.clamp_min(0.0),
            num_experts=num_experts,
            mask=mask,
            max_k=self.max_k,
        )
