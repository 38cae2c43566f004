"""What every selection is: scores in, a routing out."""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored

__all__ = ["Selection", "token_choice"]


class Selection(nn.Module):
    """Base of the selections: they own no parameters, at most buffers that controllers move.

    Attributes:
        activations: the activations whose scores it can select from; any when None.
        accepts: what kinds of scores it can select from (`Score.gives`).
        takes: what an edit may change about its choice: `k`, `ranks`, `members`.
        causal: whether a unit's decision depends on that unit alone, in training too.
        chooser: who chooses: units their experts, experts their units, or nobody (slots).
        ranks: whether the ranking that adjustments change has a say in the choice.
        alike: whether it chooses among all experts that have a logit, so that they can be grouped.
        by_value: whether the ranking is compared with a threshold, not only with itself.
    """

    activations: frozenset[str] | None = None
    accepts: frozenset[str] = frozenset({"logits", "weights"})
    takes: frozenset[str] = frozenset()
    causal: bool = True
    chooser: str = "units"
    ranks: bool = True
    alike: bool = True
    by_value: bool = False

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """Refuse a router that the selection cannot belong to.

        Args:
            score: the score function.
            activation: of the router.
            reserved: experts behind the routed ones that have no logit.
        """

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """Choose.

        Args:
            scored: logits and scores of the R experts that have a logit.
            num_experts: E, reserved experts included.
            mask: units that may be routed; the others get no assignment.
        """
        raise NotImplementedError

    def check_selected(self, index: Sequence[int], num_experts: int) -> None:
        """Refuse a selection of experts (`select_experts`) that would make it something else.

        Args:
            index: the experts that are kept, in their new order.
            num_experts: those with a logit, before the selection.
        """


def token_choice(
    scored: Scored,
    index: Int[Tensor, "units choices"],
    weight: Float[Tensor, "units choices"],
    valid: Bool[Tensor, "units choices"] | None = None,
    *,
    num_experts: int,
    mask: Bool[Tensor, "units"] | None,
) -> Routing:
    """The routing of units to the experts they chose, with what the router knew about them."""
    return Routing.from_choices(
        index,
        weight,
        valid,
        num_experts=num_experts,
        mask=mask,
        logits=scored.logits,
        scores=scored.scores,
        aux=scored.aux,
    )
