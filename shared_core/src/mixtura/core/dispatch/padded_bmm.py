"""Every expert gets as many rows as the busiest one: batched matrix products."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.dispatch.node import Work, gradient_buffers, second_derivative, work_for
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
        y, made = _forward(work, x, weight, weights)
        ctx.work = work
        ctx.save_for_backward(x, weight, *weights, *made)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        work: Work = ctx.work
        x, weight, *rest = ctx.saved_tensors
        weights, rest = rest[: len(work.names)], rest[len(work.names) :]
        unit, place, slot, outputs, *kept = rest
        if torch.is_grad_enabled():
            return None, *second_derivative(work, grads[0], x, weight, weights)
        routing, counts = work.routing, work.known_counts
        experts, total = len(counts), sum(counts)
        order = routing.order[:total]
        into = gradient_buffers(work.names, weights, ctx.needs_input_grad[3:])
        gates = weight.reshape(-1).index_select(0, order).to(x.dtype)
        gates = gates.new_zeros(len(unit)).index_copy_(0, slot, gates)
        width = grads[0].shape[-1]
        grad = grads[0].to(x.dtype).index_select(0, unit).view(len(unit), -1)
        grad_weight = None
        if ctx.needs_input_grad[2]:
            per_place = (grad * outputs).sum(1)
            grad_weight = weight.new_zeros(weight.numel())
            chosen = per_place.index_select(0, slot).to(weight.dtype)
            grad_weight = grad_weight.index_copy_(0, order, chosen).view_as(weight)
        weighted = [grad.mul_(gates[:, None]).view(experts, -1, width)]
        del grad
        grad_rows, _ = work.kernel.backward(
            weighted.pop(),  # nobody else holds it, so that the kernel can free it
            None,
            x.index_select(0, unit).view(experts, -1, x.shape[-1]),
            tuple(kept),
            work.named(weights),
            Batched(),
            into,
        )
        grad_x = None
        if ctx.needs_input_grad[1]:
            grad_x = _to_units(grad_rows.view(len(unit), -1), place, work).view_as(x)
        return None, grad_x, grad_weight, *(into.get(name) for name in work.names)


def _forward(
    work: Work, x: Tensor, weight: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Sums per unit, and what backward needs besides the inputs."""
    routing = work.routing
    source, slot = pad(routing, work.known_counts)
    experts, places = source.shape[0], source.numel()
    unit = routing.sorted_unit.index_select(0, source.view(-1))
    del source
    place = _place(routing, slot, places)
    outputs, kept = work.kernel.forward(
        x.index_select(0, unit).view(experts, -1, x.shape[-1]),
        work.named(weights),
        Batched(),
        min(work.keep, Keep.LEAST),  # padding takes memory enough
    )
    outputs = outputs.view(places, -1)
    y = _to_units(outputs.to(work.out_dtype), place, work, weight.view_as(place))
    return y.view(*x.shape[:-1], -1), (unit, place, slot, outputs, *kept)


def _to_units(rows: Tensor, place: Tensor, work: Work, weight: Tensor | None = None) -> Tensor:
    """Sums over each unit's choices, weighted or not; the place behind the last is of no expert."""
    if work.total < len(work.routing.expert):
        rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
    return collect(rows, place, None if weight is None else weight.to(rows.dtype))


def _place(routing: Routing, slot: Tensor, nowhere: int) -> Tensor:
    """The place of each unit's choices; `nowhere` for those that are not valid."""
    assert routing.index is not None
    if len(slot) == len(routing.expert):
        place = torch.empty_like(slot)
    else:
        place = slot.new_full((len(routing.expert),), nowhere)
    return place.index_copy_(0, routing.order[: len(slot)], slot).view(routing.index.shape)
