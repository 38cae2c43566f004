"""The sorted loop as one node, its weight gradients written where they belong."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.dispatch.node import Work, gradient_buffers, second_derivative, work_for
from mixtura.core.dispatch.sorted_loop import SortedLoop
from mixtura.core.experts.base import Experts
from mixtura.core.experts.layouts import Single
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.routing import Routing

__all__ = ["StackedLoop"]


@register_dispatch("stacked_loop")
class StackedLoop(Dispatch):
    """For experts with a kernel: one piece of work after the other while it is in the cache.

    Autograd's own loop stacks the gradients of all experts into a second copy; with 64 experts that
    copy costs as much as a matrix product. Other experts take the sorted loop.
    """

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Gather, compute and weigh per expert; one sum over each unit's choices."""
        if not isinstance(experts, StackedExperts) or not can_be_a_node(experts, routing):
            return SortedLoop()(experts, x, routing)
        work, x, weights = work_for(experts, x, routing, routing.counts.tolist())
        if not work.total:
            return SortedLoop()(experts, x, routing)
        return _Loop.apply(work, x, routing.weight, *weights)


def can_be_a_node(experts: StackedExperts, routing: Routing) -> bool:
    """Whether kernel, routing and mode allow it; compiled code and transforms do not."""
    return (
        experts.kernel_now() is not None
        and routing.place is not None
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, work: Work, x: Tensor, weight: Tensor, *weights: Tensor) -> Tensor:
        routing, counts, layout = work.routing, work.known_counts, Single()
        gates = weight.reshape(-1).index_select(0, routing.order[: work.total])
        if work.out_dtype == x.dtype:
            gates = gates.to(x.dtype)
        inner = math.prod(x.shape[1:-1])
        outputs: Tensor | None = None
        pieces: tuple[Tensor, ...] = ()
        kept = []
        units = routing.sorted_unit[: work.total].split(counts)
        parts = zip(units, gates[:, None].split(counts), work.pieces(weights), strict=True)
        for expert, (unit, gate, own) in enumerate(parts):
            if not counts[expert]:
                continue
            rows = x.index_select(0, unit).view(-1, x.shape[-1])
            output, keep = work.kernel.forward(rows, own, layout)
            kept.append(keep)
            if outputs is None:
                outputs = output.new_empty(
                    work.total, inner * output.shape[1], dtype=work.out_dtype
                )
                pieces = outputs.split(counts)
            torch.mul(output.view(counts[expert], -1), gate, out=pieces[expert])
        assert outputs is not None
        assert routing.place is not None
        ctx.work = work
        ctx.save_for_backward(x, weight, *weights, *kept)
        return work.to_units(outputs, routing.place).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        work: Work = ctx.work
        x, weight, *rest = ctx.saved_tensors
        weights, kept = rest[: len(work.names)], iter(rest[len(work.names) :])
        if torch.is_grad_enabled():
            return None, *second_derivative(work, grads[0], x, weight, weights)
        routing, counts, layout = work.routing, work.known_counts, Single()
        grad = grads[0].to(x.dtype)
        inner = math.prod(x.shape[1:-1])
        gates = weight.reshape(-1).index_select(0, routing.order[: work.total]).to(x.dtype)
        gates = (gates if inner == 1 else gates.repeat_interleave(inner))[:, None]
        into = gradient_buffers(work.names, weights, ctx.needs_input_grad[3:])
        unbound = zip(*(buffer.unbind(0) for buffer in into.values()), strict=True)
        own_buffers = [dict(zip(into, own, strict=True)) for own in unbound]
        grad_rows = x.new_empty(work.total, math.prod(x.shape[1:]))
        grad_gates = gates.new_zeros(len(routing.expert))
        parts = zip(
            routing.sorted_unit[: work.total].split(counts),
            gates.split([count * inner for count in counts]),
            work.pieces(weights),
            own_buffers or [{}] * len(counts),
            grad_rows.split(counts),
            grad_gates[: work.total].split(counts),
            strict=True,
        )
        for unit, gate, own, own_into, own_grad_rows, own_grad_gates in parts:
            if not len(unit):
                for buffer in own_into.values():
                    buffer.zero_()
                continue
            grad_row, grad_gate = work.kernel.backward(
                grad.index_select(0, unit).view(-1, grad.shape[-1]),
                gate,
                x.index_select(0, unit).view(-1, x.shape[-1]),
                next(kept),
                own,
                layout,
                own_into,
            )
            own_grad_rows.copy_(grad_row.view_as(own_grad_rows))
            torch.sum(grad_gate.view(-1, inner), 1, out=own_grad_gates)
        assert routing.place is not None
        grad_x = None
        if ctx.needs_input_grad[1]:
            grad_x = work.to_units(grad_rows, routing.place).view_as(x)
        grad_weight = None
        if ctx.needs_input_grad[2]:
            grad_weight = grad_gates.index_select(0, routing.inverse)
            grad_weight = grad_weight.view_as(weight).to(weight.dtype)
        return None, grad_x, grad_weight, *(into.get(name) for name in work.names)
