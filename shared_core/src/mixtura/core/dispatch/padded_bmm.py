"""Every expert gets as many rows as the busiest one: batched matrix products."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.dispatch.node import (
    Work,
    cast,
    second_derivative,
    wanted,
    work_for,
)
from mixtura.core.dispatch.sorted_loop import SortedLoop
from mixtura.core.dispatch.stacked_loop import can_be_a_node
from mixtura.core.experts.base import Experts
from mixtura.core.experts.kernel import Keep
from mixtura.core.experts.layouts import Batched
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.routing import Routing
from mixtura.core.rows import collect

__all__ = ["PaddedBMM"]


@register_dispatch("padded_bmm")
class PaddedBMM(Dispatch):
    """Best where the work is small: few operations, whatever the number of experts.

    Padding is work too, so a load that is not balanced makes this the slowest of all.
    """

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Gather with padding, compute all experts at once, combine."""
        if isinstance(experts, StackedExperts) and can_be_a_node(experts, routing):
            work, x, weights = work_for(experts, x, routing, routing.host_counts)
            if work.total:
                if work.keep == Keep.NOTHING:
                    return _forward(work, x, routing.given_weight, weights)[0]
                return _Padded.apply(work, x, routing.given_weight, *weights)
            return SortedLoop()(experts, x, routing)
        counts = routing.host_counts
        if not sum(counts):
            return SortedLoop()(experts, x, routing)
        padding = pad(routing, counts)
        rows = routing.gather(x).index_select(0, padding.source.reshape(-1))
        outputs = experts.batched(rows.view(*padding.source.shape, *rows.shape[1:])).flatten(0, 1)
        return routing.combine(outputs.index_select(0, padding.slot), x.dtype)


class Padding(NamedTuple):
    """Where rows lie when every expert has as many.

    Attributes:
        source: position in the experts' order of the row in each place; in the places that are
            too many stands a row of the next expert, whose output nobody looks at.
        slot: place of each valid position in the experts' order.
    """

    source: Int[Tensor, "experts capacity"]
    slot: Int[Tensor, "valid"]


def pad(routing: Routing, counts: list[int]) -> Padding:
    """The places for a capacity of the largest count."""
    device = routing.expert.device
    total, capacity = sum(counts), max(counts)
    starts, shift = [], []
    end = 0
    for expert, count in enumerate(counts):
        starts.append(end)
        shift.append(expert * capacity - end)
        end += count
    numbers = torch.arange(max(total, capacity), device=device)
    start = torch.tensor(starts, device=device)
    source = (start[:, None] + numbers[:capacity]).clamp_max_(total - 1)
    moved = torch.tensor(shift, device=device).index_select(0, routing.sorted_expert[:total])
    return Padding(source, moved.add_(numbers[:total]))


class _Padded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, work: Work, x: Tensor, weight: Tensor, *weights: Tensor) -> Tensor:
        y, kept = _forward(work, x, weight, weights)
        ctx.work = work
        ctx.save_for_backward(x, weight, *weights, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        work: Work = ctx.work
        x, weight, *rest = ctx.saved_tensors
        weights, rest = rest[: len(work.names)], rest[len(work.names) :]
        unit, place, *kept = rest
        if torch.is_grad_enabled():
            return None, *second_derivative(work, grads[0], x, weight, weights)
        experts, places, inner = len(work.known_counts), len(unit), work.inner
        into = wanted(work.names, weights, ctx.needs_input_grad[3:])
        gates = x.new_zeros(places + work.spare)  # zero where a place is too many
        gates.index_copy_(0, place.flatten(), cast(weight.flatten(), x.dtype))
        gates = gates[:places, None].expand(-1, inner).reshape(experts, -1, 1)
        grad = cast(grads[0], x.dtype)
        grad_rows, grad_gates = work.kernel.backward(
            grad.index_select(0, unit).view(experts, -1, grad.shape[-1]),
            gates,
            x.index_select(0, unit).view(experts, -1, x.shape[-1]),
            tuple(kept),
            work.named(weights),
            Batched(),
            into,
        )
        grad_x = grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_rows = grad_rows.view(places, -1)
            grad_x = collect(_with_nowhere(grad_rows, work), place).view_as(x)
        if ctx.needs_input_grad[2]:
            assert grad_gates is not None
            per_place = _with_nowhere(grad_gates.view(places, inner).sum(1, keepdim=True), work)
            grad_weight = per_place[:, 0].index_select(0, place.flatten())
            grad_weight = cast(grad_weight.view(weight.shape), weight.dtype)
        return None, grad_x, grad_weight, *(into.get(name) for name in work.names)


def _forward(
    work: Work, x: Tensor, weight: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Sums per unit, and what backward needs besides the inputs."""
    unit, place = _padded(work)
    experts, places = len(work.known_counts), len(unit)
    rows = [x.index_select(0, unit).view(experts, -1, x.shape[-1])]
    where = () if work.keep == Keep.NOTHING else (unit, place)
    del unit
    keep = min(work.keep, Keep.LEAST)  # padding takes memory enough
    outputs, kept = work.kernel.forward(rows.pop(), work.named(weights), Batched(), keep)
    outputs = _with_nowhere(cast(outputs.view(places, -1), work.out_dtype), work)
    y = collect(outputs, place, cast(weight.view(place.shape), work.out_dtype))
    return y.view(*x.shape[:-1], -1), (*where, *kept)


def _padded(work: Work) -> tuple[Int[Tensor, "places"], Int[Tensor, "units choices"]]:
    """The unit in each place, and the place of each unit's choices.

    Choices that are not valid have the place behind the last.
    """
    routing = work.routing
    assert routing.index is not None
    source, slot = pad(routing, work.known_counts)
    unit = routing.sorted_unit.index_select(0, source.view(-1))
    if work.spare:
        place = slot.new_full((len(routing.expert),), len(unit))
    else:
        place = torch.empty_like(slot)
    place.index_copy_(0, routing.order[: len(slot)], slot)
    return unit, place.view(routing.index.shape)


def _with_nowhere(rows: Tensor, work: Work) -> Tensor:
    """With a row of zeros behind the last place, if some choices are not valid."""
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])]) if work.spare else rows
