"""Soft routing: experts work on slots, which are mixtures of units."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core.lazy import lazy
from mixtura.core.routing import Routing

__all__ = ["SlotRouting"]


class SlotRouting(Routing):
    """A routing whose experts get mixtures of all units of a sample instead of single units.

    It offers what any routing offers: `gather` mixes the units into slots, in the experts' order,
    and `combine` mixes the experts' outputs back. Slots never cross samples.

    Shape letters: B samples, T units of a sample (U = B T), E experts, S slots of an expert.

    Args:
        dispatch: share of each unit in each slot; sums to 1 over the units of a sample.
        mix: share of each slot in each unit's output; sums to 1 over all slots.
        mask: units that exist.
        logits: one per unit, expert and slot.
    """

    def __init__(
        self,
        dispatch: Float[Tensor, "samples units_each experts slots"],
        mix: Float[Tensor, "samples units_each experts slots"],
        *,
        mask: Bool[Tensor, "units"] | None = None,
        logits: Float[Tensor, "units routed_slots"] | None = None,
    ) -> None:
        samples, units_each, experts, slots = dispatch.shape
        expert = torch.arange(experts, device=dispatch.device).repeat_interleave(samples * slots)
        super().__init__(
            torch.arange(len(expert), device=dispatch.device),
            expert,
            torch.ones_like(expert, dtype=dispatch.dtype),
            num_units=samples * units_each,
            num_experts=experts,
            mask=mask,
            scores=mix.flatten(0, 1).sum(-1),
            may_be_invalid=False,
        )
        self.logits = logits
        self.dispatch = dispatch
        self.mix = mix
        self.num_samples = samples

    @property
    def plain(self) -> bool:
        """No: rows are mixed."""
        return False

    @lazy
    def order(self) -> Int[Tensor, "assignments"]:
        """Slots are in the experts' order from the start."""
        return torch.arange(len(self.expert), device=self.expert.device)

    @lazy
    def sorted_unit(self) -> Int[Tensor, "assignments"]:
        """A slot has no unit of its own; its number stands here."""
        return self.order

    def gather(self, x: Float[Tensor, "units *rest"]) -> Float[Tensor, "assignments *rest"]:
        """The slots: mixtures of the units, expert by expert."""
        units = x.unflatten(0, self.dispatch.shape[:2])
        accumulate = torch.promote_types(x.dtype, torch.float32)
        slots = torch.einsum(
            "btes,bt...->ebs...", self.dispatch.to(accumulate), units.to(accumulate)
        )
        return slots.flatten(0, 2).to(x.dtype)

    def combine(
        self, rows: Float[Tensor, "rows *rest"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "units *out"]:
        """Each unit's mixture of the slots' outputs."""
        samples, _, experts, slots = self.mix.shape
        accumulate = torch.promote_types(rows.dtype, torch.float32)
        outputs = rows.view(experts, samples, slots, *rows.shape[1:]).to(accumulate)
        mixed = torch.einsum("btes,ebs...->bt...", self.mix.to(accumulate), outputs)
        return mixed.flatten(0, 1).to(rows.dtype if dtype is None else dtype)

    @lazy
    def dense_weight(self) -> Float[Tensor, "units experts"]:
        """How much of each unit's output comes from each expert."""
        return self.mix.flatten(0, 1).sum(-1)

    @lazy
    def chosen(self) -> Bool[Tensor, "units experts"]:
        """Every unit reaches every expert."""
        every = torch.ones_like(self.dense_weight, dtype=torch.bool)
        return every if self.mask is None else every & self.mask[:, None]

    def __repr__(self) -> str:
        return (
            f"SlotRouting(units={self.num_units}, experts={self.num_experts}, "
            f"slots={self.mix.shape[-1]})"
        )
