"""Top-any: the experts beyond their own thresholds, with equal weights."""

from jaxtyping import Bool
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.active import active_routing, check_bounds
from mixtura.core.selections.base import Selection

__all__ = ["TopAny"]


@configurable
class TopAny(Selection):
    """The mean over the experts whose score is positive, the best one if there is none.

    The scores have no say in the forward pass but get their gradient straight through.

    Guo et al., Dynamic Mixture of Experts, ICLR 2025 (arXiv 2405.14297, eq. 4-6).

    Args:
        max_k: of more experts only the best so many are taken.
    """

    activations = frozenset({"identity"})
    accepts = frozenset({"logits"})
    takes = frozenset({"members"})
    by_value = True

    def __init__(self, *, max_k: int | None = None) -> None:
        super().__init__()
        check_bounds(1, max_k)
        self.max_k = max_k

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The experts beyond their thresholds."""
        return active_routing(
            scored,
            scored.ranked > 0,
            1 + scored.scores - scored.scores.detach(),
            num_experts=num_experts,
            mask=mask,
            min_k=1,
            max_k=self.max_k,
            renormalize=True,
        )
