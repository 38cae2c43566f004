"""Percentile: every expert beyond a quantile of the scores."""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mixtura.core.checks import check_number, check_option
from mixtura.core.configuration import configurable
from mixtura.core.precise import PreciseBuffers
from mixtura.core.replay import replayed
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.active import active_routing, check_bounds
from mixtura.core.selections.base import Selection

__all__ = ["Percentile"]


@configurable
class Percentile(PreciseBuffers, Selection):
    """The experts whose score reaches the `tau` quantile, the best one always among them.

    Over the scores of one unit the quantile gives every unit the same number of experts; over those
    of the batch the number differs. Experts that a unit may not go to have no part in it. Outside
    training the batch's quantile is the running mean that training left (all experts are taken
    before any), so that a unit's result does not depend on the others. The weights are renormalised
    over the chosen.

    After DynaMoE (arXiv 2603.01697), whose text gives no formula.

    Args:
        tau: the quantile, between 0 and 1.
        scope: of the quantile: all scores of the call, or those of each unit.
        max_k: largest number of experts; `layer_capacity` gives it by depth.
        momentum: of the running mean.
    """

    activations = frozenset({"softmax", "sigmoid"})
    takes = frozenset({"members"})
    by_value = True
    quantile: Tensor
    seen: Tensor

    def __init__(
        self,
        tau: float,
        *,
        scope: Literal["batch", "unit"] = "batch",
        max_k: int | None = None,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        check_number("tau", tau, least=0, most=1)
        check_option("scope", scope, ("batch", "unit"))
        check_number("momentum", momentum, above=0, most=1)
        check_bounds(1, max_k)
        self.causal = scope == "unit"
        self.tau = tau
        self.scope = scope
        self.max_k = max_k
        self.momentum = momentum
        self.register_buffer("quantile", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The experts beyond the quantile."""
        ranked = scored.ranked.detach()
        holes = scored.ranking is not None or scored.allowed is not None
        return active_routing(
            scored,
            ranked >= self._threshold(ranked, mask, holes),
            scored.scores,
            num_experts=num_experts,
            mask=mask,
            min_k=1,
            max_k=self.max_k,
            renormalize=True,
        )

    def _threshold(
        self,
        ranked: Float[Tensor, "units routed"],
        mask: Bool[Tensor, "units"] | None,
        holes: bool,
    ) -> Tensor:
        if self.scope == "unit":
            return _quantile_of_units(ranked, self.tau)
        if not self.training:
            return self.quantile
        values = ranked if mask is None else ranked[mask]
        if holes:
            values = values[values > -torch.inf]
        if values.numel() == 0:
            return self.quantile
        now = _quantile(values.reshape(-1), self.tau)
        if replayed(values) is True:
            return now
        with torch.no_grad():
            share = self.momentum if self.seen else 1.0
            self.quantile.lerp_(now.to(self.quantile.dtype), share)
            self.seen += 1
        return now


def _quantile(values: Float[Tensor, "values"], tau: float) -> Float[Tensor, ""]:
    """Like torch.quantile, which refuses more than 16 million values."""
    return values.kthvalue(_rank(len(values), tau)).values


def _quantile_of_units(ranked: Float[Tensor, "units routed"], tau: float) -> Tensor:
    """The quantile of each unit's values, those at minus infinity left out."""
    reached = (ranked > -torch.inf).sum(-1, keepdim=True)
    from_top = [count - _rank(count, tau) for count in range(ranked.shape[-1] + 1)]
    place = torch.tensor(from_top, device=ranked.device)[reached]
    return ranked.sort(-1, descending=True).values.gather(-1, place)


def _rank(count: int, tau: float) -> int:
    """The place, from 1, of the smallest value with at least the share tau below it."""
    return min(math.ceil(tau * (count - 1) - 1e-9) + 1, count)
