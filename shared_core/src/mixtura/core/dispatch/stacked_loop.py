"""The sorted loop as one node, its weight gradients written where they belong."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.dispatch.chunks import Chunk, chunks_of
from mixtura.core.dispatch.node import Work, second_derivative, wanted, work_for
from mixtura.core.dispatch.sorted_loop import SortedLoop
from mixtura.core.experts.base import Experts
from mixtura.core.experts.kernel import Keep
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.huge_pages import empty_like
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
        work, x, weights = work_for(experts, x, routing, routing.host_counts)
        if not work.total:
            return SortedLoop()(experts, x, routing)
        if work.keep == Keep.NOTHING:
            return _forward(work, x, routing.given_weight, weights)[0]
        return _Loop.apply(work, x, routing.given_weight, *weights)


def can_be_a_node(experts: StackedExperts, routing: Routing) -> bool:
    """Whether kernel, routing and mode allow it; compiled code and transforms do not."""
    return (
        experts.kernel_now() is not None
        and routing.index is not None
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


class _Loop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, work: Work, x: Tensor, weight: Tensor, *weights: Tensor) -> Tensor:
        y, outputs, kept = _forward(work, x, weight, weights)
        ctx.work = work
        ctx.kept_of_each = len(kept[0])
        flat = (tensor for each in kept for tensor in each)
        ctx.save_for_backward(x, weight, *weights, outputs, *flat)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        work: Work = ctx.work
        x, weight, *rest = ctx.saved_tensors
        weights, (outputs, *kept) = rest[: len(work.names)], rest[len(work.names) :]
        if torch.is_grad_enabled():
            return None, *second_derivative(work, grads[0], x, weight, weights)
        routing, counts = work.routing, work.known_counts
        total, dim = sum(counts), x.shape[-1]
        grad = grads[0].to(x.dtype)
        width = grad.shape[-1]
        gates = weight.reshape(-1).index_select(0, routing.order[:total]).to(x.dtype)[:, None]
        into = wanted(work.names, weights, ctx.needs_input_grad[3:])
        into = {name: empty_like(value) for name, value in into.items()}
        for expert, count in enumerate(counts):
            if not count:
                for buffer in into.values():
                    buffer[expert].zero_()
        own_into = {name: buffer.unbind(0) for name, buffer in into.items()}
        own = work.unbound(weights)
        grad_rows = work.sorted_rows(x, total, work.inner * dim, x.dtype)
        grad_gates = grads[0].new_zeros(len(routing.expert))
        for number, (start, stop, layout) in enumerate(_chunks(work, x)):
            unit = routing.sorted_unit[start:stop]
            grad_outputs = grad.index_select(0, unit).view(stop - start, -1)
            product = grad_outputs * outputs[start:stop]
            torch.sum(product, 1, out=grad_gates[start:stop])
            del product
            work.kernel.backward(
                grad_outputs.mul_(gates[start:stop]).view(-1, width),
                None,
                x.index_select(0, unit).view(-1, dim),
                tuple(kept[number * ctx.kept_of_each : (number + 1) * ctx.kept_of_each]),
                own,
                layout,
                own_into,
                grad_rows[start:stop].view(-1, dim),
            )
        grad_x = None
        if ctx.needs_input_grad[1]:
            grad_x = work.to_units(grad_rows).view_as(x)
        grad_weight = None
        if ctx.needs_input_grad[2]:
            grad_weight = grad_gates.index_select(0, routing.inverse)
            grad_weight = grad_weight.view_as(weight).to(weight.dtype)
        return None, grad_x, grad_weight, *(into.get(name) for name in work.names)


def _forward(
    work: Work, x: Tensor, weight: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor, list[tuple[Tensor, ...]]]:
    """Sums per unit, outputs in the experts' order, and what each chunk keeps."""
    routing, total, dim = work.routing, work.total, x.shape[-1]
    own = work.unbound(weights)
    outputs = place = None
    kept = []
    for start, stop, layout in _chunks(work, x):
        if outputs is not None and work.out_dtype == x.dtype:
            place = outputs[start:stop].view((stop - start) * work.inner, -1)
        output, keep = work.kernel.forward(
            x.index_select(0, routing.sorted_unit[start:stop]).view(-1, dim),
            own,
            layout,
            work.keep,
            place,
        )
        kept.append(keep)
        if place is None:  # the width was not known, or the precision is another
            output = output.view(stop - start, -1)
            if outputs is None:
                outputs = work.sorted_rows(x, total, output.shape[1], work.out_dtype)
            outputs[start:stop] = output
    assert outputs is not None
    assert routing.place is not None
    gates = weight.view(routing.place.shape).to(work.out_dtype)
    return work.to_units(outputs, gates).view(*x.shape[:-1], -1), outputs, kept


def _chunks(work: Work, x: Tensor) -> list[Chunk]:
    return chunks_of(work.known_counts, work.inner, cut=x.itemsize >= 4)
