"""Rows sorted by expert, all experts in one grouped matrix product."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.dispatch.node import (
    Work,
    cast,
    second_derivative,
    wanted,
    weigh,
    weigh_back,
    work_for,
)
from mixtura.core.dispatch.sorted_loop import SortedLoop
from mixtura.core.dispatch.stacked_loop import can_be_a_node
from mixtura.core.experts.base import Experts
from mixtura.core.experts.kernel import Keep
from mixtura.core.experts.layouts import GroupedKernel
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.routing import Routing
from mixtura.core.rows import collect

__all__ = ["GroupedMM"]

ALIGNMENT = 16  # bytes


@register_dispatch("grouped_mm")
class GroupedMM(Dispatch):
    """Never waits for the host to know the counts: for GPUs, and for compiled code everywhere.

    Experts with a kernel and sizes that torch's grouped product takes are one node of the graph;
    other stacked experts are a few; experts that are not stacked take the sorted loop.
    """

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Gather, one product for each layer of the experts, combine."""
        if not isinstance(experts, StackedExperts):
            return SortedLoop()(experts, x, routing)
        if x.shape[0] and can_be_a_node(experts, routing):
            work, narrow, weights = work_for(experts, x, routing)
            if _takes(narrow, weights):
                layout = _layout(work)
                if work.keep == Keep.NOTHING:
                    return _forward(work, layout, narrow, routing.given_weight, weights)[0]
                return _Grouped.apply(work, layout, narrow, routing.given_weight, *weights)
        outputs = experts.grouped(routing.gather(x), routing)
        return routing.combine(outputs, x.dtype)


def _takes(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether torch's grouped product takes such rows and stacks of matrices."""
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    whole = ALIGNMENT // x.itemsize
    if x.shape[-1] % whole or not x.is_contiguous() or x.data_ptr() % ALIGNMENT:
        return False
    for weight in weights:
        if not weight.is_contiguous() or weight.data_ptr() % ALIGNMENT:
            return False
        for size in weight.shape[1:]:
            if size % whole:
                return False
    return True


class _Grouped(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, work: Work, layout: GroupedKernel, x: Tensor, weight: Tensor, *weights: Tensor
    ) -> Tensor:
        y, kept = _forward(work, layout, x, weight, weights)
        ctx.work, ctx.layout = work, layout
        ctx.save_for_backward(x, weight, *weights, *kept)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        work: Work = ctx.work
        x, weight, *rest = ctx.saved_tensors
        weights, kept = rest[: len(work.names)], rest[len(work.names) :]
        if torch.is_grad_enabled():
            return None, None, *second_derivative(work, grads[0], x, weight, weights)
        routing, inner = work.routing, work.inner
        assert routing.place is not None
        into = wanted(work.names, weights, ctx.needs_input_grad[4:])
        grad = cast(grads[0], x.dtype)
        grad_weight = gates = None
        if work.keep == Keep.MORE:
            rows, chosen, *kept = kept
            grad_weight, grad = weigh_back(grad.flatten(1), chosen, weight, routing)
            grad = grad.index_select(0, routing.order)
            grad = grad if inner == 1 else grad.view(len(rows), -1)
            del chosen
        else:
            rows = x.index_select(0, routing.sorted_unit).flatten(0, -2)
            grad = grad.index_select(0, routing.sorted_unit).flatten(0, -2)
            gates = weight.reshape(-1).index_select(0, routing.order)[:, None].to(x.dtype)
            gates = gates if inner == 1 else gates.repeat_interleave(inner, 0)
        weighted = [grad]
        del grad
        grad_rows, grad_gates = work.kernel.backward(
            weighted.pop(),  # nobody else holds it, so that the kernel can free it
            gates,
            rows,
            tuple(kept),
            work.named(weights),
            ctx.layout,
            into,
        )
        grad_x = None
        if ctx.needs_input_grad[2]:
            grad_rows = _only_live(_assignments(grad_rows, inner), routing)
            grad_x = _positions(collect(grad_rows, routing.place), x)
        if grad_gates is not None and ctx.needs_input_grad[3]:
            per_row = grad_gates.view(-1, inner).sum(1, keepdim=True)
            grad_weight = _only_live(per_row, routing)[:, 0].index_select(0, routing.inverse)
            grad_weight = grad_weight.view(weight.shape).to(weight.dtype)
        return None, None, grad_x, grad_weight, *[into.get(name) for name in work.names]


def _forward(
    work: Work, layout: GroupedKernel, x: Tensor, weight: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Sums per unit, and what is kept."""
    routing, more = work.routing, work.keep == Keep.MORE
    assert routing.place is not None
    rows = [x.index_select(0, routing.sorted_unit).flatten(0, -2)]
    kept_rows = tuple(rows) if more else ()
    outputs, kept = work.kernel.forward(rows.pop(), work.named(weights), layout, work.keep)
    outputs = _only_live(_assignments(outputs, work.inner), routing)
    if more:
        chosen = outputs.index_select(0, routing.inverse)
        del outputs
        y, kept = weigh(chosen, weight, work), (*kept_rows, chosen, *kept)
    else:
        outputs = cast(outputs, work.out_dtype)
        gates = weight.view_as(routing.place).to(work.out_dtype)
        y = collect(outputs, routing.place, gates)
    return _positions(y, x), kept


def _layout(work: Work) -> GroupedKernel:
    routing, inner = work.routing, work.inner
    if inner == 1:
        return GroupedKernel(routing.offsets, routing.sorted_expert)
    expert = routing.sorted_expert.repeat_interleave(inner)
    return GroupedKernel(routing.offsets * inner, expert)


def _assignments(rows: Tensor, inner: int) -> Tensor:
    """The rows of an assignment in one."""
    return rows if inner == 1 else rows.view(len(rows) // inner, -1)


def _positions(rows: Tensor, like: Tensor) -> Tensor:
    """What an assignment has in one, at the positions of a unit."""
    return rows if like.ndim == 2 else rows.view(*like.shape[:-1], -1)


def _only_live(rows: Tensor, routing: Routing) -> Tensor:
    """Zeros where a row is of no expert."""
    if not routing.may_be_invalid:
        return rows
    return rows.where((routing.sorted_expert < routing.num_experts)[:, None], 0.0)
