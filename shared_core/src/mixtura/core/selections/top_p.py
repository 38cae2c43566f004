"""Top-p: as many experts as a unit's probabilities need."""

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

__all__ = ["TopP"]


@configurable
class TopP(PreciseBuffers, Selection):
    """The smallest set of best experts whose probabilities sum to more than `p`.

    The expert that crosses the threshold belongs to the set; if rounding keeps the sum at or below
    `p`, all experts do. The weights are the plain probabilities. `p` is a buffer, so that
    `TopPControl` can steer it. Report the cost as mean active experts.

    Huang et al., Harder Tasks Need More Experts, 2024 (arXiv 2403.07652, eq. 3-4).

    Args:
        p: the threshold.
        min_k: smallest number of experts.
        max_k: largest number; also keeps shapes bounded.
        renormalize: whether the weights are divided by their sum.
    """

    activations = frozenset({"softmax"})
    takes = frozenset({"members"})
    p: Tensor

    def __init__(
        self,
        p: float = 0.4,
        *,
        min_k: int = 1,
        max_k: int | None = None,
        renormalize: bool = False,
    ) -> None:
        super().__init__()
        check_number("p", p, above=0)
        check_bounds(min_k, max_k)
        self.register_buffer("p", torch.tensor(float(p)))
        self.min_k = min_k
        self.max_k = max_k
        self.renormalize = renormalize

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The smallest sufficient set of each unit."""
        order = scored.ranked.detach().argsort(dim=-1, descending=True, stable=True)
        ordered = scored.scores.detach().gather(-1, order)
        sums = ordered.cumsum(-1)
        # An expert is needed if the better ones have not crossed the threshold.
        needed = torch.cat([torch.ones_like(sums[:, :1]) > 0, sums[:, :-1] <= self.p], -1)
        active = torch.zeros_like(needed).scatter(-1, order, needed)
        return active_routing(
            scored,
            active,
            scored.scores,
            num_experts=num_experts,
            mask=mask,
            min_k=self.min_k,
            max_k=self.max_k,
            renormalize=self.renormalize,
        )
