"""Soft assignment of units to slots."""

from jaxtyping import Bool
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection
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

    def __init__(self, slots: int = 1) -> None:
        super().__init__()
        if slots < 1:
            raise InputError(f"an expert needs at least one slot, got {slots}")
        self.slots = slots

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The mixtures."""
        units, width = scored.logits.shape
        if width != num_experts * self.slots:
            raise InputError(
                f"{num_experts} experts with {self.slots} slots need {num_experts * self.slots} "
                f"logits, got {width}; reserved experts have no slots, and the score function must "
                "have as many slots as the selection"
            )
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
