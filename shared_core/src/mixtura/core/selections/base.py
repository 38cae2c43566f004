"""What every selection is: scores in, a routing out."""

from jaxtyping import Bool
from torch import Tensor, nn

from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored

__all__ = ["Selection"]


class Selection(nn.Module):
    """Base of the selections: they own no parameters, at most buffers that controllers move.

    Attributes:
        activations: the activations whose scores it can select from; any when None.
        accepts: what kinds of scores it can select from (`Score.gives`).
        takes: what an edit may change about its choice: `k`, `ranks`, `members`.
        causal: whether a unit's decision depends on that unit alone.
    """

    activations: frozenset[str] | None = None
    accepts: frozenset[str] = frozenset({"logits", "weights"})
    takes: frozenset[str] = frozenset()
    causal: bool = True

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
