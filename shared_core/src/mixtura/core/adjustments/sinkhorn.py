"""Sinkhorn: in training, units are spread evenly over the experts."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score, Scored

__all__ = ["Sinkhorn", "sinkhorn"]


@configurable
class Sinkhorn(Adjustment):
    """In training, experts are chosen from the doubly normalised matrix of `exp(logits)`.

    The weights are the scores: a sigmoid of the logits for k = 1, else their softmax, as in
    Megatron-Core. Outside training every unit takes its best experts, so that one unit's result
    does not depend on the others.

    Args:
        tolerance: the iteration ends when the column scaling moves less than this on average.
        max_iterations: or after this many rounds.
    """

    activations = frozenset({"sigmoid", "softmax"})

    def __init__(self, tolerance: float = 1e-4, *, max_iterations: int = 100) -> None:
        super().__init__()
        if tolerance <= 0 or max_iterations < 1:
            raise InputError(
                "Sinkhorn needs a positive tolerance and at least one iteration, got "
                f"{tolerance} and {max_iterations}"
            )
        self.tolerance = tolerance
        self.max_iterations = max_iterations

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The ranking of the normalised matrix."""
        if not self.training:
            return scored
        spread = sinkhorn(
            scored.logits,
            scored.mask,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )
        return replace(scored, ranking=spread)


@torch.no_grad()
def sinkhorn(
    logits: Float[Tensor, "units routed"],
    mask: Bool[Tensor, "units"] | None = None,
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 100,
) -> Float[Tensor, "units routed"]:
    """`exp(logits)` scaled so that rows sum to 1/U and columns to 1/R.

    Sinkhorn & Knopp, 1967; for routing: Clark et al., arXiv 2202.01169.

    Args:
        logits: what is scaled.
        mask: units that count; the rows of the others are zero.
        tolerance: the iteration ends when the column scalings move less than this on average.
        max_iterations: or after this many rounds.
    """
    routed = logits.shape[-1]
    cost = torch.exp(logits.float() - logits.float().amax(-1, keepdim=True))
    units: Tensor | int = logits.shape[0]
    if mask is not None:
        cost = cost * mask[:, None]
        units = mask.sum().clamp_min(1)
    if logits.shape[0] == 0:
        return cost
    # The row maximum that was taken out divides the row scalings and nothing else.
    columns = cost.new_ones(routed)
    rows = cost.new_ones(logits.shape[0])
    for _ in range(max_iterations):
        rows = 1 / units / (cost @ columns + 1e-8)
        before, columns = columns, 1 / routed / (rows @ cost + 1e-8)
        if float((before - columns).abs().mean()) <= tolerance:
            break
    return columns * cost * rows[:, None]
