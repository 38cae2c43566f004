"""BASE layers: in training every expert gets as many units as every other."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score, Scored

__all__ = ["BalancedAssignment", "balanced_assignment"]


@configurable
class BalancedAssignment(Adjustment):
    """In training, units are assigned so that the sum of their logits is largest at even load.

    Outside training each unit takes its best expert. It belongs to `TopK(1, renormalize="never")`
    with the activation sigmoid: y = sigmoid(z_e) f_e(x).

    Lewis et al., BASE Layers, ICML 2021 (arXiv 2103.16716).

    Args:
        precision: how far the sum may be from the best one, per unit and relative to the range of
            the logits.
    """

    activations = frozenset({"sigmoid", "softmax"})

    def __init__(self, precision: float = 1e-3) -> None:
        super().__init__()
        if precision <= 0:
            raise InputError(f"the precision must be positive, got {precision}")
        self.precision = precision

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """A ranking with the assigned expert on top."""
        if not self.training or len(scored.logits) == 0:
            return scored
        expert = balanced_assignment(scored.logits, scored.mask, precision=self.precision)
        top = torch.zeros_like(scored.scores).scatter(-1, expert[:, None], 1.0)
        return replace(scored, ranking=top)

    def check(self, score: Score, choices: int | None) -> None:
        """One expert per unit."""
        if choices != 1:
            raise InputError(f"a balanced assignment gives one expert per unit, got k = {choices}")


@torch.no_grad()
def balanced_assignment(
    logits: Float[Tensor, "units routed"],
    mask: Bool[Tensor, "units"] | None = None,
    *,
    precision: float = 1e-3,
) -> Int[Tensor, "units"]:
    """An expert for each unit, none with more than ceil(U / R) units, at (nearly) the largest sum.

    Bertsekas' auction: a unit without an expert bids for the one that is worth most to it, by as
    much as it is better than the second; an expert keeps its highest bids.

    Args:
        logits: worth of each expert to each unit.
        mask: units that count; the others get expert 0.
        precision: smallest bid, relative to the range of the logits.
    """
    result = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    real = torch.arange(len(logits), device=logits.device)
    real = real if mask is None else real[mask]
    worth = logits.double()[real]
    units, routed = worth.shape
    if units == 0 or routed == 1:
        return result
    room = -(-units // routed)
    step = precision * float((worth.max() - worth.min()).clamp_min(1e-9))
    holder = torch.full((units,), -1, device=worth.device)
    bid = torch.zeros(units, dtype=worth.dtype, device=worth.device)
    price = worth.new_zeros(routed)
    for _ in range(100 * units + 1000):
        waiting = (holder < 0).nonzero().squeeze(1)
        if len(waiting) == 0:
            break
        best, wanted = (worth[waiting] - price).topk(2, dim=-1)
        offer = price[wanted[:, 0]] + best[:, 0] - best[:, 1] + step
        holder[waiting], bid[waiting] = wanted[:, 0], offer
        for expert in wanted[:, 0].unique().tolist():
            held = (holder == expert).nonzero().squeeze(1)
            if len(held) > room:
                ranked = bid[held].argsort(descending=True, stable=True)
                holder[held[ranked[room:]]] = -1
                held = held[ranked[:room]]
            if len(held) == room:
                price[expert] = bid[held].min()
    result[real] = holder.clamp_min(0)
    return result
