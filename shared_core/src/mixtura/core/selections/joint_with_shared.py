"""Joint with shared: routed and shared experts under one softmax."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection, token_choice

__all__ = ["JointWithShared"]


@configurable
class JointWithShared(Selection):
    """The k best routed experts and all shared ones, weighted by one softmax over their logits.

    The last `num_shared` logits belong to the shared experts, which every unit uses with a gate
    that is learned and competes with those of the routed experts: the weights sum to 1. The routed
    choices come first, best first, then the shared experts.

    Yang et al., Adaptive Shared Experts, 2025 (arXiv 2510.00570, eq. 7-10).

    `aux["num_shared"]` tells losses how many logits are not routed.

    Args:
        k: routed experts per unit, the shared ones not counted.
        num_shared: experts that every unit uses.
    """

    accepts = frozenset({"logits"})
    alike = False

    def __init__(self, k: int, num_shared: int) -> None:
        super().__init__()
        if k < 1 or num_shared < 1:
            raise InputError(
                f"a joint selection needs k >= 1 and num_shared >= 1, got {k} and {num_shared}; "
                "without shared experts take TopK(k, renormalize='softmax')"
            )
        self.k = k
        self.num_shared = num_shared

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """Enough experts beside the shared ones."""
        self._check(score.num_experts - self.num_shared)

    def _check(self, routed: int) -> None:
        if not 1 <= self.k <= routed:
            raise InputError(
                f"k must be between 1 and the number of routed experts ({routed} beside "
                f"{self.num_shared} shared ones), got {self.k}; lower k or add experts"
            )

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The routing of each unit to k + num_shared experts."""
        logits = scored.weighing
        ranked = logits if scored.ranking is None else scored.ranked
        routed = logits.shape[-1] - self.num_shared
        best = ranked[:, :routed].topk(self.k, dim=-1).indices
        shared = torch.arange(routed, logits.shape[-1], device=logits.device)
        index = torch.cat([best, shared.expand(len(logits), -1)], -1)
        scored = replace(scored, aux={**scored.aux, "num_shared": self.num_shared})
        chosen = logits.gather(-1, index)
        valid = None if scored.allowed is None else scored.allowed.gather(-1, index)
        if valid is not None:
            chosen = chosen.clamp_min(-1e30)
        weight = chosen.softmax(-1)
        if valid is not None:
            weight = weight.masked_fill(~valid, 0.0)
        return token_choice(scored, index, weight, valid, num_experts=num_experts, mask=mask)

    def check_selected(self, index: Sequence[int], num_experts: int) -> None:
        """The shared experts stay, behind the others."""
        shared = list(range(num_experts - self.num_shared, num_experts))
        routed, last = list(index[: -self.num_shared]), list(index[-self.num_shared :])
        if last != shared or set(routed) & set(shared):
            raise InputError(
                f"the last {self.num_shared} experts are shared by all units and have to stay "
                f"there, as {shared}; got {list(index)}"
            )
