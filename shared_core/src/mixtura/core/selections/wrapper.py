"""What selections that change another selection's decision have in common."""

from jaxtyping import Bool
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection

__all__ = ["SelectionWrapper"]


class SelectionWrapper(Selection):
    """A selection that lets another one choose and then changes the decision.

    Attributes:
        changes: whose choices it can change (`Selection.chooser`).

    Args:
        selection: the one that chooses.
    """

    changes: frozenset[str] = frozenset({"units", "experts"})

    def __init__(self, selection: Selection) -> None:
        super().__init__()
        if selection.chooser not in self.changes:
            raise InputError(
                f"{type(self).__name__} changes what {' or '.join(sorted(self.changes))} choose, "
                f"but with {type(selection).__name__} {selection.chooser} do; leave it out"
            )
        self.selection = selection
        self.chooser = selection.chooser
        self.ranks = selection.ranks
        self.by_value = selection.by_value
        self.activations = selection.activations
        self.accepts = selection.accepts
        self.takes = selection.takes
        self.causal = selection.causal

    @property
    def k(self) -> int | None:
        """Experts per unit, where the inner selection has a fixed number."""
        return getattr(self.selection, "k", None)

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """What the inner selection asks for."""
        self.selection.check(score, activation, reserved)

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """The changed decision."""
        raise NotImplementedError

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """Choose, then change."""
        return self.change(self.selection(scored, num_experts=num_experts, mask=mask), scored)
