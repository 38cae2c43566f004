"""Soft assignment of units to slots."""

from jaxtyping import Bool
from torch import Tensor

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection
from mixtura.core.selections.expert_choice import check_groups
from mixtura.core.slots import SlotRouting

__all__ = ["SoftSlots"]


@configurable
class SoftSlots(Selection):
    """A softmax over the units of a sample fills the slots; one over all slots mixes them back.

    Padding gets no share of a slot. A unit's result depends on the other units of its sample, so
    this is nothing for causal models.

    Puigcerver et al., From Sparse to Soft Mixtures of Experts, 2023 (arXiv 2308.00951, eq. 1-3).

    Args:
        slots: slots of each expert, as in the score function.
    """

    accepts = frozenset({"slots"})
    activations = frozenset({"identity"})
    causal = False
    chooser = "nobody"
    ranks = False

    def __init__(self, slots: int = 1) -> None:
        super().__init__()
        check_sizes(slots=slots)
        self.slots = slots

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """As many slots as are scored, for every expert."""
        scored = getattr(score, "slots", self.slots)
        if reserved or scored != self.slots:
            raise InputError(
                f"{self.slots} slots of each expert are filled, but the score function has "
                f"{scored} and {reserved} reserved experts have none; make the numbers of slots "
                "equal and reserve no expert"
            )

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The mixtures."""
        units, width = scored.logits.shape
        check_groups(units, scored.num_samples)
        each = units // max(scored.num_samples, 1)
        logits = scored.logits.view(scored.num_samples, each, width)
        mix = logits.softmax(-1)
        if mask is None:
            dispatch = logits.softmax(1)
        else:
            alive = mask.view(scored.num_samples, each, 1)
            dispatch = logits.masked_fill(~alive, -1e30).softmax(1) * alive
            mix = mix * alive
        shape = (scored.num_samples, each, num_experts, self.slots)
        return SlotRouting(dispatch.view(shape), mix.view(shape), mask=mask, logits=scored.logits)
