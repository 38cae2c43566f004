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
    replaces_ranking = True
    own_scale = True
    causal = False

    def __init__(self, precision: float = 1e-3) -> None:
        super().__init__()
        if not 1e-9 <= precision < 1:
            raise InputError(f"the precision must be between 1e-9 and 1, got {precision}")
        self.precision = precision

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """A ranking with the assigned expert on top, where the unit may go to it."""
        if not self.training or len(scored.logits) == 0:
            return scored
        expert = balanced_assignment(scored.logits, scored.mask, precision=self.precision)
        first = torch.zeros_like(scored.scores).scatter(-1, expert[:, None], 2.0)
        return replace(scored, ranking=scored.scores.detach() + first)

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
    much as it is better than the second; an expert keeps its highest bids. All units bid at once,
    and the smallest raise shrinks from round of auctions to round of auctions, which keep the
    prices.

    Args:
        logits: worth of each expert to each unit.
        mask: units that count; the others get expert 0.
        precision: smallest raise in the end, relative to the range of the logits.
    """
    result = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    real = torch.arange(len(logits), device=logits.device)
    real = real if mask is None else real[mask]
    worth = logits.double()[real]
    units, routed = worth.shape
    if units == 0 or routed == 1:
        return result
    room = -(-units // routed)
    finite = worth[worth.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    worth = worth.clamp(low - 2 * (high - low) - 1, high)  # not allowed: worth least, by far
    # Indifferent units fill the places that would stay free: prices carry over only in full houses.
    worth = torch.cat([worth, worth.new_zeros(room * routed - units, routed)])
    spread = float((worth.max() - worth.min()).clamp_min(1e-9))
    raises = [spread * share for share in (0.2, 0.04, 0.008, 0.0016) if share > precision]
    price = worth.new_zeros(routed)
    for smallest in raises:
        _auction(worth, price, room, smallest)
    holder = _auction(worth, price, room, spread * precision)
    result[real] = holder[:units]
    return result


def _auction(
    worth: Float[Tensor, "units routed"], price: Float[Tensor, "routed"], room: int, smallest: float
) -> Int[Tensor, "units"]:
    """One auction: who holds which expert in the end; the prices rise in place."""
    holder = torch.full((len(worth),), -1, device=worth.device)
    bid = worth.new_zeros(len(worth))
    place = torch.arange(len(worth), device=worth.device)
    while True:
        waiting = (holder < 0).nonzero().squeeze(1)
        if len(waiting) == 0:
            return holder
        best, wanted = (worth[waiting] - price).topk(2, dim=-1)
        holder[waiting] = wanted[:, 0]
        bid[waiting] = price[wanted[:, 0]] + best[:, 0] - best[:, 1] + smallest
        by_bid = bid.argsort(descending=True, stable=True)
        by_bid = by_bid[holder[by_bid] >= 0]
        order = by_bid[holder[by_bid].argsort(stable=True)]
        expert = holder[order]
        rank = place[: len(order)] - torch.searchsorted(expert, expert)
        last = rank == room - 1
        price[expert[last]] = bid[order[last]]
        holder[order[rank >= room]] = -1
