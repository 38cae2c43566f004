"""Rows sorted by expert, all experts in one grouped matrix product."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.dispatch.node import Work, second_derivative, work_for
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
            work, cast, weights = work_for(experts, x, routing)
            if all(_is_aligned(tensor) for tensor in (cast, *weights)):
                if work.keep == Keep.NOTHING:
                    return _forward(work, cast, routing.given_weight, weights)[0]
                return _Grouped.apply(work, cast, routing.given_weight, *weights)
        outputs = experts.grouped(routing.gather(x), routing)
        return routing.combine(outputs, x.dtype)


def _is_aligned(tensor: Tensor) -> bool:
    """Whether torch's grouped product takes a matrix, or a stack of them, like this."""
    shape, size = tensor.shape, tensor.itemsize
    return (
        shape[-1] * size % ALIGNMENT == 0
        and (len(shape) < 3 or shape[-2] * size % ALIGNMENT == 0)
        and tensor.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and tensor.is_contiguous()
        and tensor.data_ptr() % ALIGNMENT == 0
    )


class _Grouped(torch.autograd.Function):
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
        weights, kept = rest[: len(work.names)], rest[len(work.names) :]
        if torch.is_grad_enabled():
            return None, *second_derivative(work, grads[0], x, weight, weights)
        routing = work.routing
        assert routing.place is not None
        width, inner = grads[0].shape[-1], math.prod(x.shape[1:-1])
        wanted = zip(work.names, weights, ctx.needs_input_grad[3:], strict=True)
        into = {name: value for name, value, want in wanted if want}
        gates = weight.reshape(-1).index_select(0, routing.order)[:, None].to(x.dtype)
        grad = grads[0].to(x.dtype).index_select(0, routing.sorted_unit).view(len(gates), -1)
        if work.keep == Keep.MORE:
            outputs, *kept = kept
            per_row = (grad * outputs).sum(1, keepdim=True)
            grad.mul_(gates)
            given = None
        else:
            per_row = None
            given = gates if inner == 1 else gates.repeat_interleave(inner, 0)
        weighted = [grad.view(-1, width)]
        del grad
        grad_rows, grad_gates = work.kernel.backward(
            weighted.pop(),  # nobody else holds it, so that the kernel can free it
            given,
            x.index_select(0, routing.sorted_unit).view(-1, x.shape[-1]),
            tuple(kept),
            work.named(weights),
            _layout(work, x),
            into,
        )
        grad_x = None
        if ctx.needs_input_grad[1]:
            grad_rows = _only_live(grad_rows.view(len(gates), -1), routing)
            grad_x = collect(grad_rows, routing.place).view_as(x)
        grad_weight = None
        if ctx.needs_input_grad[2]:
            if per_row is None:
                assert grad_gates is not None
                per_row = grad_gates.view(-1, inner).sum(1, keepdim=True)
            per_row = _only_live(per_row, routing)
            grad_weight = per_row[:, 0].index_select(0, routing.inverse)
            grad_weight = grad_weight.view_as(weight).to(weight.dtype)
        return None, grad_x, grad_weight, *(into.get(name) for name in work.names)


def _forward(
    work: Work, x: Tensor, weight: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Sums per unit, and what is kept."""
    routing = work.routing
    assert routing.place is not None
    outputs, kept = work.kernel.forward(
        x.index_select(0, routing.sorted_unit).view(-1, x.shape[-1]),
        work.named(weights),
        _layout(work, x),
        work.keep,
    )
    outputs = _only_live(outputs.view(len(routing.expert), -1), routing)
    wide = outputs.to(work.out_dtype)
    y = collect(wide, routing.place, weight.view_as(routing.place).to(wide.dtype))
    return y.view(*x.shape[:-1], -1), (outputs, *kept) if work.keep == Keep.MORE else kept


def _layout(work: Work, x: Tensor) -> GroupedKernel:
    routing, inner = work.routing, math.prod(x.shape[1:-1])
    if inner == 1:
        return GroupedKernel(routing.offsets, routing.sorted_expert)
    expert = routing.sorted_expert.repeat_interleave(inner)
    return GroupedKernel(routing.offsets * inner, expert)


def _only_live(rows: Tensor, routing: Routing) -> Tensor:
    """Zeros where a row is of no expert."""
    if not routing.may_be_invalid:
        return rows
    return rows.where((routing.sorted_expert < routing.num_experts)[:, None], 0.0)
