"""A bias that moves the choice and never the weight."""

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.precise import PreciseBuffers
from mixtura.core.scores.base import Score, Scored

__all__ = ["BalanceBias"]


@configurable
class BalanceBias(PreciseBuffers, Adjustment):
    """Experts are chosen by `s + b`; their weights are `s`.

    The `BiasBalance` controller moves `b` between steps, which balances the load without a loss
    (Wang et al., Auxiliary-Loss-Free Load Balancing, arXiv 2408.15664; DeepSeek-V3).

    Args:
        num_experts: routed experts.
    """

    expert_axes: ClassVar[dict[str, int]] = {"bias": 0}
    bias: Tensor

    def __init__(self, num_experts: int) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts)
        self.num_experts = num_experts
        self.register_buffer("bias", torch.zeros(num_experts))

    def check(self, score: Score, choices: int | None) -> None:
        """One entry per expert that is scored."""
        if score.num_experts != self.num_experts:
            raise InputError(
                f"the balance bias is for {self.num_experts} experts, but {score.num_experts} are "
                "scored; make the two numbers equal"
            )

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The ranking with the bias."""
        ranking = scored.scores if scored.ranking is None else scored.ranking
        return replace(scored, ranking=ranking.detach() + self.bias)
