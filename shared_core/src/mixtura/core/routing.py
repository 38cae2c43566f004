"""A routing decision as a value: who works on what, with which weight.

Shape letters: U units, K choices per unit, N assignments, E experts, R experts that have a logit,
d width of a row.
"""

from copy import copy
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.lazy import lazy
from mixtura.core.rows import spread, weighted_collect

__all__ = ["Routing", "combine"]


class Routing:
    """N assignments (unit, expert, weight), sorted by expert on demand.

    An assignment that is not valid (padding, dropped by a capacity, beyond a threshold) carries the
    expert number `num_experts`: it is sorted behind all others and never computed, so the number of
    assignments does not depend on the data.

    The decision can be used many times and on many inputs: `gather` brings rows into the experts'
    order, `combine` brings the experts' outputs back as weighted sums.

    Args:
        unit: unit of each assignment; left out by `from_choices`, where it is plain.
        expert: expert of each assignment; `num_experts` marks one that is not valid.
        weight: combine weight of each assignment (float32).
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
        input_weight: factor on the input row of each assignment, where a selection wants one.
        outputs: the experts' outputs of the valid assignments in the experts' order, not weighted,
            where a loss needs them.
        probing: a decision about some of the units with more experts than were chosen, and with
            their outputs, where a loss needs it.
    """

    index: Int[Tensor, "units choices"] | None
    valid: Bool[Tensor, "units choices"] | None
    _choice_weight: Float[Tensor, "units choices"] | None = None

    def __init__(
        self,
        unit: Int[Tensor, "assignments"] | None,
        expert: Int[Tensor, "assignments"],
        weight: Float[Tensor, "assignments"],
        *,
        num_units: int,
        num_experts: int,
        mask: Bool[Tensor, "units"] | None = None,
        logits: Float[Tensor, "units routed"] | None = None,
        scores: Float[Tensor, "units routed"] | None = None,
        aux: dict[str, Any] | None = None,
        may_be_invalid: bool = True,
    ) -> None:
        if unit is not None:
            self.unit = unit
        self.expert = expert
        self.weight = weight
        self.num_units = num_units
        self.num_experts = num_experts
        self.mask = mask
        self.logits = logits
        self.scores = scores
        self.aux = {} if aux is None else aux
        self.may_be_invalid = may_be_invalid
        self.num_samples = 1
        self.free = mask
        self.rows: Tensor | None = None
        self.input_weight: Tensor | None = None
        self.outputs: Tensor | None = None
        self.probing: Routing | None = None
        self.replayed: Tensor | bool = False
        self.index = None
        self.valid = None

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
            weight.reshape(-1),
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
        routing._choice_weight = weight
        return routing

    @property
    def given_weight(self) -> Tensor:
        """`weight` in the shape in which it was given, so that no reshape has to be derived."""
        return self.weight if self._choice_weight is None else self._choice_weight

    @property
    def choices(self) -> int | None:
        """K of a token-choice routing, None for a plain list of assignments."""
        return None if self.index is None else self.index.shape[1]

    @property
    def plain(self) -> bool:
        """Whether an expert's input rows are units as they are."""
        return self.input_weight is None

    @lazy
    def unit(self) -> Int[Tensor, "assignments"]:
        """Unit of each assignment."""
        assert self.choices is not None  # any other routing is told
        units = torch.arange(self.num_units, device=self.expert.device)
        return units.repeat_interleave(self.choices)

    @lazy
    def _sorted(self) -> tuple[Int[Tensor, "assignments"], Int[Tensor, "assignments"]]:
        """Experts in order, and the assignment of each."""
        narrow = len(self.expert) > 2048 and self.num_experts < 2**15  # sorted faster, by radix
        return torch.sort(self.expert.to(torch.int16) if narrow else self.expert, stable=True)

    @lazy
    def order(self) -> Int[Tensor, "assignments"]:
        """Position in the experts' order -> assignment; stable, invalid ones last."""
        return self._sorted[1]

    @lazy
    def inverse(self) -> Int[Tensor, "assignments"]:
        """Assignment -> position in the experts' order."""
        positions = torch.arange(len(self.order), device=self.order.device)
        return torch.empty_like(self.order).scatter_(0, self.order, positions)

    @lazy
    def place(self) -> Int[Tensor, "units choices"] | None:
        """Where in the experts' order each unit's choices are, for a token-choice routing."""
        return None if self.index is None else self.inverse.view(self.index.shape)

    @lazy
    def counts(self) -> Int[Tensor, "experts"]:
        """Valid assignments of each expert."""
        if not torch.compiler.is_compiling() and self.expert.device.type == "cpu":
            return self.offsets.diff(prepend=self.offsets.new_zeros(1)).to(torch.int64)
        ones = torch.ones_like(self.expert)
        counts = torch.zeros(self.num_experts + 1, dtype=torch.int64, device=ones.device)
        return counts.scatter_add_(0, self.expert, ones)[: self.num_experts]

    @lazy
    def offsets(self) -> Int[Tensor, "experts"]:
        """Where each expert's rows end in the experts' order (int32, cumulative counts)."""
        if torch.compiler.is_compiling() or self.expert.device.type != "cpu":
            return self.counts.cumsum(0, dtype=torch.int32)
        experts = self._sorted[0]
        each = torch.arange(self.num_experts, dtype=experts.dtype)
        return torch.searchsorted(experts, each, right=True, out_int32=True)

    @property
    def host_counts(self) -> list[int]:
        """Valid assignments of each expert, on the host."""
        if self.expert.device.type != "cpu":
            return self.counts.tolist()
        ends = self.offsets.tolist()
        return [end - start for start, end in zip([0, *ends], ends, strict=False)]

    @lazy
    def sorted_unit(self) -> Int[Tensor, "assignments"]:
        """Unit of each assignment in the experts' order."""
        if self.choices is not None:
            return self.order if self.choices == 1 else self.order // self.choices
        return self.unit.index_select(0, self.order)

    @lazy
    def sorted_expert(self) -> Int[Tensor, "assignments"]:
        """Expert of each assignment in the experts' order."""
        return self._sorted[0].to(self.expert.dtype)

    @lazy
    def sorted_weight(self) -> Float[Tensor, "assignments"]:
        """Weight of each assignment in the experts' order."""
        return self.weight.index_select(0, self.order)

    def gather(self, x: Float[Tensor, "units *rest"]) -> Float[Tensor, "assignments *rest"]:
        """Rows of `x` in the experts' order, one per assignment (invalid ones at the end)."""
        if self.place is None or torch.compiler.is_exporting():
            rows = x.index_select(0, self.sorted_unit)
        else:
            rows = spread(x.flatten(1), self.sorted_unit, self.place).view(-1, *x.shape[1:])
        if self.input_weight is None:
            return rows
        factor = self.input_weight.index_select(0, self.order).to(rows.dtype)
        return rows * factor.view(-1, *[1] * (rows.ndim - 1))

    def combine(
        self, rows: Float[Tensor, "rows *rest"], dtype: torch.dtype | None = None
    ) -> Float[Tensor, "units *out"]:
        """Weighted sum of the experts' outputs per unit.

        Args:
            rows: outputs in the experts' order; the rows of invalid assignments may be left out.
            dtype: of the sums; that of `rows` when not given.

        Returns:
            The sums, accumulated in float32 at least. A unit without a valid assignment gets zeros.
        """
        count = rows.shape[0]
        dtype = rows.dtype if dtype is None else dtype
        if dtype.itemsize > rows.dtype.itemsize:
            rows = rows.to(dtype)
        rest = rows.shape[1:]
        if self.place is not None and count == len(self.order):
            if self.may_be_invalid:
                live = self.sorted_expert < self.num_experts
                rows = rows.where(live.view(-1, *[1] * (rows.ndim - 1)), 0.0)
            weight = self.weight.view_as(self.place).to(rows.dtype)
            flat = weighted_collect(rows.flatten(1), weight, self.sorted_unit, self.place)
            return flat.view(self.num_units, *rest).to(dtype)
        weight = self.sorted_weight[:count].to(torch.promote_types(rows.dtype, torch.float32))
        weighted = rows * weight.view(-1, *[1] * (rows.ndim - 1))
        if self.may_be_invalid and count == len(self.order):
            live = (self.sorted_expert < self.num_experts).view(-1, *[1] * (rows.ndim - 1))
            weighted = weighted.where(live, 0.0)
        total = weighted.new_zeros(self.num_units, *rest)
        return total.index_add(0, self.sorted_unit[:count], weighted).to(dtype)

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
        changed.weight = weight
        changed._choice_weight = None
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
        return Routing.from_choices(
            self.index.index_select(0, unit),
            self.weight.view_as(self.index).index_select(0, unit),
            valid,
            num_experts=self.num_experts,
            mask=inside,
        )

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
