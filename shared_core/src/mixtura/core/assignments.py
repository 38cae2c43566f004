"""Who works on what, with which weight: a list, its order by expert, and rows that move by it.

Shape letters: U units, K choices per unit, N assignments, E experts, d width of a row.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core.lazy import lazy
from mixtura.core.rows import spread, weighted_collect

__all__ = ["Assignments"]


class Assignments:
    """N assignments (unit, expert, weight), sorted by expert on demand.

    An assignment that is not valid (padding, dropped by a capacity, beyond a threshold) carries the
    expert number `num_experts`: it is sorted behind all others and never computed, so the number of
    assignments does not depend on the data.

    They can be used many times and on many inputs: `gather` brings rows into the experts' order,
    `combine` brings the experts' outputs back as weighted sums.

    Args:
        unit: unit of each assignment; None where each unit chose its experts.
        expert: expert of each assignment; `num_experts` marks one that is not valid.
        weight: combine weight of each assignment (float32), or of each unit's choices.
        num_units: U.
        num_experts: E, reserved experts (which have no logit) included.
        may_be_invalid: False promises that every assignment is valid.

    Attributes:
        index: the experts that each unit chose; None for a plain list.
        valid: which of these choices count; None means all.
        given_weight: the weights in the shape in which they were given.
        input_weight: factor on the input row of each assignment, where a selection wants one.
    """

    index: Int[Tensor, "units choices"] | None = None
    valid: Bool[Tensor, "units choices"] | None = None
    input_weight: Tensor | None = None

    def __init__(
        self,
        unit: Int[Tensor, "assignments"] | None,
        expert: Int[Tensor, "assignments"],
        weight: Float[Tensor, "assignments"] | Float[Tensor, "units choices"],
        *,
        num_units: int,
        num_experts: int,
        may_be_invalid: bool = True,
    ) -> None:
        if unit is not None:
            self.unit = unit
        self.expert = expert
        self.given_weight = weight
        self.num_units = num_units
        self.num_experts = num_experts
        self.may_be_invalid = may_be_invalid

    @property
    def weight(self) -> Float[Tensor, "assignments"]:
        """Combine weight of each assignment."""
        return self.given_weight.flatten()

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
        narrow = self.expert.shape[0] > 2048 and self.num_experts < 2**15  # sorted faster, by radix
        return torch.sort(self.expert.to(torch.int16) if narrow else self.expert, stable=True)

    @lazy
    def order(self) -> Int[Tensor, "assignments"]:
        """Position in the experts' order -> assignment; stable, invalid ones last."""
        return self._sorted[1]

    @lazy
    def inverse(self) -> Int[Tensor, "assignments"]:
        """Assignment -> position in the experts' order."""
        order = self.order
        positions = torch.arange(order.shape[0], device=order.device)
        return torch.empty_like(order).scatter_(0, order, positions)

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
        experts = self._sorted[0]
        return experts if experts.dtype == self.expert.dtype else experts.to(self.expert.dtype)

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
