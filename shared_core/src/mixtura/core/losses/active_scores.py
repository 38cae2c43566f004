"""ReMoE's regulariser: sparsity and balance in one."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.losses.load_balance import scores_of
from mixtura.core.routing import Routing

__all__ = ["ActiveScores", "active_scores"]


def active_scores(calls: Sequence[Routing], k: int) -> Float[Tensor, ""]:
    """`R / (k U^2) sum_e (sum_u s_ue) count_e`, no gradient through the counts.

    Wang et al., ReMoE: Fully Differentiable MoE with ReLU Routing, ICLR 2025 (arXiv 2412.14711).

    Args:
        calls: routings with ReLU scores.
        k: experts per unit that are aimed at.
    """
    counts: Tensor | None = None
    sums: Tensor | None = None
    units: Tensor | float = 0.0
    for call in calls:
        scores = scores_of(call)
        alive = scores.new_ones(len(scores)) if call.free is None else call.free.to(scores.dtype)
        scores = scores * alive[:, None]
        used, total = (scores > 0).sum(0).to(scores.dtype), scores.sum(0)
        counts = used if counts is None else counts + used
        sums = total if sums is None else sums + total
        units = units + alive.sum()
    if counts is None or sums is None:
        raise InputError("a loss on active scores needs at least one routing")
    return len(counts) / k * (sums * counts).sum() / torch.as_tensor(units).clamp_min(1).square()


@configurable
class ActiveScores(Loss):
    """`active_scores` times the coefficient that `SparsityControl` moves.

    The coefficient lies in the selection (`Positive.coefficient`) and is saved with the model.

    Args:
        k: experts per unit that are aimed at.
        weight: factor of the term beside the coefficient.
    """

    name = "active_scores"
    reads_shares = True

    def __init__(self, k: int, weight: float = 1.0) -> None:
        super().__init__(weight)
        check_sizes(k=k)
        self.k = k

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The loss with the coefficient of its layer."""
        coefficient = calls[0].aux.get("coefficient", 1.0) if calls else 1.0
        return coefficient * active_scores(calls, self.k)
