"""Every expert above a threshold."""

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.active import active_routing, check_bounds
from mixtura.core.selections.base import Selection
from mixtura.core.selections.topk import check_divisor

__all__ = ["Threshold"]


@configurable
class Threshold(Selection):
    """The experts whose score is above a fixed threshold.

    Args:
        threshold: on the scores.
        min_k: so many best experts are taken anyway.
        max_k: of more experts only the best so many are taken.
        renormalize: whether the weights are divided by their sum.
    """

    takes = frozenset({"members"})
    by_value = True

    def __init__(
        self,
        threshold: float,
        *,
        min_k: int = 0,
        max_k: int | None = None,
        renormalize: bool = False,
    ) -> None:
        super().__init__()
        check_number("threshold", threshold)
        check_bounds(min_k, max_k)
        self.threshold = threshold
        self.min_k = min_k
        self.max_k = max_k
        self.renormalize = renormalize

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """Weights that can be divided by their sum."""
        check_divisor(self.renormalize, score, activation)

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The experts above the threshold."""
        return active_routing(
            scored,
            scored.ranked > torch.as_tensor(self.threshold),
            scored.scores,
            num_experts=num_experts,
            mask=mask,
            min_k=self.min_k,
            max_k=self.max_k,
            renormalize=self.renormalize,
        )
