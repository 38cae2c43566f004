"""What every score function is: units in, one logit per unit and expert out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn

from mixtura.core.choice import Choice

__all__ = ["Score", "Scored"]


@dataclass
class Scored:
    """What a router knows before it decides.

    Attributes:
        logits: float32; -inf where an expert is not allowed.
        scores: logits after the activation (softmax, sigmoid, ...), float32; 0 where not allowed.
        aux: what the score function wants kept beside the decision, such as a recurrent state.
        num_samples: samples that the units come from, in equal shares and in order.
        ranking: what the experts are chosen by when that is not the scores (a balance bias,
            a group limit, an assignment); the combine weights come from the scores all the same.
        allowed: the experts that each unit may go to; all when None.
        choice: what an edit says about the choice.
        mask: units that the router decides about; all when None.
        replaced: logarithms of scores that an edit put in, for selections that weigh by the logits.
    """

    logits: Float[Tensor, "units routed"]
    scores: Float[Tensor, "units routed"]
    aux: dict[str, Any] = field(default_factory=dict)
    num_samples: int = 1
    ranking: Float[Tensor, "units routed"] | None = None
    allowed: Bool[Tensor, "units routed"] | None = None
    choice: Choice | None = None
    mask: Bool[Tensor, "units"] | None = None
    replaced: Float[Tensor, "units routed"] | None = None

    @property
    def weighing(self) -> Float[Tensor, "units routed"]:
        """What a softmax over chosen experts is taken of: the logits, unless they are edited."""
        return self.logits if self.replaced is None else self.replaced

    @property
    def ranked(self) -> Float[Tensor, "units routed"]:
        """What the experts are chosen by: the ranking or the scores, -inf where not allowed."""
        ranking = self.scores if self.ranking is None else self.ranking
        return (
            ranking if self.allowed is None else ranking.masked_fill(~self.allowed, -float("inf"))
        )


class Score(nn.Module):
    """Base of the score functions.

    A score function may put `allowed` (units, routed) into what it keeps: the experts that each
    unit may go to.

    Attributes:
        num_experts: R, the experts that get a logit.
        context: what else than `x` the score function looks at: `task`, `state`, `ids`.
        gives: `logits`, to which an activation belongs; `weights`, which are combine weights
            already (hash, smooth gates); or `slots`, one logit per unit and slot (soft MoE).
        reach: experts that one unit can have a weight for; any number when None.
        restricts: whether some units may go to some experts only (`allowed` in what is kept).
        expert_axes: names of parameters and buffers with one entry per expert, and the axis.
    """

    num_experts: int
    context: frozenset[str] = frozenset()
    gives: str = "logits"
    reach: int | None = None
    restricts: bool = False
    expert_axes: ClassVar[dict[str, int]] = {}

    def forward(
        self, x: Float[Tensor, "units dim"], **context: Any
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits in float32 whatever the precision around, and what else is worth keeping.

        Args:
            x: what the router looks at.
            **context: what the layer was given for its router and this class declares in `context`.
        """
        raise NotImplementedError

    def expert_vectors(self) -> Float[Tensor, "routed dim"] | None:
        """One vector per expert whose direction says what the expert is chosen for, if any."""
        return None

    def check_selected(self, index: Sequence[int], num_experts: int) -> None:
        """Refuse a selection of experts (`select_experts`) that would make it something else.

        Args:
            index: the experts that are kept, in their new order.
            num_experts: those with a logit, before the selection.
        """
