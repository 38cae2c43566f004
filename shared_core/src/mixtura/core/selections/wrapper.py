"""What selections that change another selection's decision have in common."""

from jaxtyping import Bool
from torch import Tensor

from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection

__all__ = ["SelectionWrapper"]


class SelectionWrapper(Selection):
    """A selection that lets another one choose and then changes the decision.

    Args:
        selection: the one that chooses.
    """

    def __init__(self, selection: Selection) -> None:
        super().__init__()
        self.selection = selection
        self.activations = selection.activations
        self.accepts = selection.accepts
        self.takes = selection.takes
        self.causal = selection.causal

    @property
    def k(self) -> int | None:
        """Experts per unit, where the inner selection has a fixed number."""
        return getattr(self.selection, "k", None)

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """The changed decision."""
        raise NotImplementedError

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """Choose, then change."""
        return self.change(self.selection(scored, num_experts=num_experts, mask=mask), scored)
