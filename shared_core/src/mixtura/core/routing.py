"""A routing decision as a value.

Shape letters: U units, K choices per unit, N assignments, E experts, R experts that have a logit.
"""

from copy import copy
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core.assignments import Assignments
from mixtura.core.errors import InputError
from mixtura.core.lazy import lazy

__all__ = ["Routing", "combine"]


class Routing(Assignments):
    """What a router decided: assignments, and what it remembers of how it came to them.

    Args:
        unit: unit of each assignment; left out by `from_choices`, where it is plain.
        expert: expert of each assignment; `num_experts` marks one that is not valid.
        weight: combine weight of each assignment (float32), or of each unit's choices.
        num_units: U.
        num_experts: E, reserved experts (which have no logit) included.
        mask: units that exist; False is padding.
        logits: what the router computed, float32.
        scores: logits after the score function, float32.
        aux: what else the router wants remembered, for losses or as the state of the next layer.
        may_be_invalid: False promises that every assignment is valid.

    Attributes:
        num_samples: samples that the units come from, in equal shares and in order.
        free: units that the router decided about, neither padding nor forced; None means all.
        rows: what the router looked at, where a loss needs it.
        outputs: the experts' outputs of the valid assignments in the experts' order, not weighted,
            where a loss needs them.
        probing: a decision about some of the units with more experts than were chosen, and with
            their outputs, where a loss needs it.
        replayed: whether backward is computing it once more.
    """

    num_samples: int = 1
    rows: Tensor | None = None
    outputs: Tensor | None = None
    probing: "Routing | None" = None
    replayed: Tensor | bool = False

    def __init__(
        self,
        unit: Int[Tensor, "assignments"] | None,
        expert: Int[Tensor, "assignments"],
        weight: Float[Tensor, "assignments"] | Float[Tensor, "units choices"],
        *,
        num_units: int,
        num_experts: int,
        mask: Bool[Tensor, "units"] | None = None,
        logits: Float[Tensor, "units routed"] | None = None,
        scores: Float[Tensor, "units routed"] | None = None,
        aux: dict[str, Any] | None = None,
        may_be_invalid: bool = True,
    ) -> None:
        super().__init__(
            unit,
            expert,
            weight,
            num_units=num_units,
            num_experts=num_experts,
            may_be_invalid=may_be_invalid,
        )
        self.mask = mask
        self.free = mask
        self.logits = logits
        self.scores = scores
        self.aux = {} if aux is None else aux

    @classmethod
    def from_choices(
        cls,
        index: Int[Tensor, "units choices"],
        weight: Float[Tensor, "units choices"],
        valid: Bool[Tensor, "units choices"] | None = None,
        *,
        num_experts: int,
        mask: Bool[Tensor, "units"] | None = None,
        logits: Float[Tensor, "units routed"] | None = None,
        scores: Float[Tensor, "units routed"] | None = None,
        aux: dict[str, Any] | None = None,
    ) -> "Routing":
        """A token-choice routing: each unit chose the K experts `index` with the weights `weight`.

        `valid` tells which choices count; choices of masked units never do.
        """
        num_units = index.shape[0]
        if mask is not None:
            valid = mask[:, None].expand_as(index) if valid is None else valid & mask[:, None]
        expert = index if valid is None else index.masked_fill(~valid, num_experts)
        routing = cls(
            None,
            expert.reshape(-1),
            weight,
            num_units=num_units,
            num_experts=num_experts,
            mask=mask,
            logits=logits,
            scores=scores,
            aux=aux,
            may_be_invalid=valid is not None,
        )
        routing.index = index
        routing.valid = valid
        return routing

    @lazy
    def dense_weight(self) -> Float[Tensor, "units experts"]:
        """The combine weights as a matrix, zero where an expert was not chosen."""
        columns = self.num_experts + 1
        flat = self.weight.new_zeros(self.num_units * columns)
        flat = flat.index_add(0, self.unit * columns + self.expert, self.weight)
        return flat.view(self.num_units, columns)[:, : self.num_experts]

    @lazy
    def chosen(self) -> Bool[Tensor, "units experts"]:
        """The routing map: which unit goes to which expert."""
        columns = self.num_experts + 1
        flat = torch.zeros(self.num_units * columns, dtype=torch.bool, device=self.expert.device)
        flat = flat.index_fill(0, self.unit * columns + self.expert, True)
        return flat.view(self.num_units, columns)[:, : self.num_experts]

    def with_weight(self, weight: Float[Tensor, "assignments"]) -> "Routing":
        """The same decision with other combine weights."""
        changed = copy(self)
        changed.given_weight = weight
        for cached in ("sorted_weight", "dense_weight"):
            changed.__dict__.pop(cached, None)
        return changed

    def for_rows(self, unit_of_row: Int[Tensor, "rows"]) -> "Routing":
        """The decision about units as one about rows that belong to them, in any numbers.

        Patch sets, ragged samples, nodes of a graph: route what stands for each unit, and let every
        row follow its own.

        Args:
            unit_of_row: the unit of each row; -1 for a row that belongs to none.
        """
        if self.index is None:
            raise InputError("rows can follow only units that chose their experts")
        inside = unit_of_row >= 0
        unit = unit_of_row.clamp_min(0)
        valid = None if self.valid is None else self.valid.index_select(0, unit)
        followed = Routing.from_choices(
            self.index.index_select(0, unit),
            self.weight.view_as(self.index).index_select(0, unit),
            valid,
            num_experts=self.num_experts,
            mask=inside,
        )
        if self.input_weight is not None:
            factor = self.input_weight.view_as(self.index).index_select(0, unit)
            followed.input_weight = factor.flatten()
        return followed

    def keep(self, kept: Bool[Tensor, "assignments"]) -> "Routing":
        """The same decision with only some of its assignments; the others become invalid."""
        changed = Routing(
            self.unit,
            self.expert.masked_fill(~kept, self.num_experts),
            self.weight.masked_fill(~kept, 0.0),
            num_units=self.num_units,
            num_experts=self.num_experts,
            mask=self.mask,
            logits=self.logits,
            scores=self.scores,
            aux=dict(self.aux),
        )
        if self.index is not None:
            changed.index = self.index
            inside = kept.view_as(self.index)
            changed.valid = inside if self.valid is None else self.valid & inside
        changed.free, changed.rows = self.free, self.rows
        changed.num_samples = self.num_samples
        changed.input_weight = self.input_weight
        return changed

    def __repr__(self) -> str:
        choices = "" if self.choices is None else f", choices={self.choices}"
        return f"Routing(units={self.num_units}, experts={self.num_experts}{choices})"


def combine(
    outputs: Float[Tensor, "units experts *rest"], routing: Routing
) -> Float[Tensor, "units *rest"]:
    """Weighted sum of outputs that every expert computed for every unit.

    One set of outputs serves many routings: a multi-gate mixture computes its experts once
    (Ma et al., MMoE, KDD 2018, eq. 6).
    """
    accumulate = torch.promote_types(outputs.dtype, torch.float32)
    mixed = torch.einsum(
        "ue,ue...->u...", routing.dense_weight.to(accumulate), outputs.to(accumulate)
    )
    return mixed.to(outputs.dtype)
