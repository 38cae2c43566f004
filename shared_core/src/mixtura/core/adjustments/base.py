"""What every adjustment is."""

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.scores.base import Score, Scored

__all__ = ["Adjustment"]


class Adjustment(nn.Module):
    """A step between the score function and the selection that any router can be given.

    `on_logits` changes what the router thinks; `on_scores` changes what it chooses by.

    Attributes:
        activations: the activations that it makes sense with; any when None.
        ranks: whether it changes what the experts are chosen by.
        replaces_ranking: whether nothing is left of what they were chosen by before.
        own_scale: whether what it ranks by cannot be compared with a threshold on the scores.
        in_groups: whether it puts the experts into groups.
        causal: whether a unit's decision still depends on that unit alone, in training too.
        expert_axes: names of parameters and buffers with one entry per expert, and the axis.
    """

    activations: frozenset[str] | None = None
    ranks: bool = True
    replaces_ranking: bool = False
    own_scale: bool = False
    in_groups: bool = False
    causal: bool = True
    expert_axes: ClassVar[dict[str, int]] = {}

    def on_logits(
        self, logits: Float[Tensor, "units routed"], score: Score
    ) -> Float[Tensor, "units routed"]:
        """The logits to go on with, before the activation."""
        return logits

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The scores to go on with, after the activation and after every edit of them."""
        return scored

    def check(self, score: Score, choices: int | None) -> None:
        """Refuse a router that the adjustment cannot belong to.

        Args:
            score: the score function.
            choices: experts per unit where the selection has a fixed number.
        """

    def check_selected(self, index: Sequence[int], num_experts: int) -> None:
        """Refuse a selection of experts (`select_experts`) that would make it something else.

        Args:
            index: the experts that are kept, in their new order.
            num_experts: those with a logit, before the selection.
        """
