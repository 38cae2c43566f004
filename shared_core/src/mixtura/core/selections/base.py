"""What every selection is: scores in, a routing out."""

from jaxtyping import Bool
from torch import Tensor, nn

from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored

__all__ = ["Selection"]


class Selection(nn.Module):
    """Base of the selections: they own no parameters, at most buffers that controllers move."""

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
