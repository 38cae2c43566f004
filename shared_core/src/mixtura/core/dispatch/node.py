"""A dispatch as one node of the graph: what the kernel dispatches share.

Forward keeps the units' own rows and one tensor per piece of work; gathered rows and activations
are made again in backward. The gradient of a combine weight comes from the outputs or, where these
are wide, from the hidden units (`<grad W_down, hidden>`), so that outputs need not be kept either
(SonicMoE, arXiv 2512.14080).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixtura.core.experts.kernel import Keep, Kernel
from mixtura.core.experts.layouts import Single
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.routing import Routing
from mixtura.core.rows import collect

__all__ = [
    "FEW_ROWS",
    "Work",
    "autocast_dtype",
    "cast",
    "second_derivative",
    "wanted",
    "weigh",
    "weigh_back",
    "work_for",
]

FEW_ROWS = 2048  # below, the number of operations counts, not their size


@dataclass
class Work:
    """What a kernel dispatch has to do, apart from tensors that carry gradients.

    Attributes:
        kernel: the experts' mathematics.
        experts: the bank, for derivatives of derivatives.
        names: names of the stacked weights in the order in which they are passed.
        routing: the decision.
        counts: rows of each expert, where the host knows.
        out_dtype: of the result.
        inner: rows of an assignment.
        keep: what forward keeps.
    """

    kernel: Kernel
    experts: StackedExperts
    names: tuple[str, ...]
    routing: Routing
    counts: list[int] | None
    out_dtype: torch.dtype
    inner: int
    keep: Keep

    @property
    def known_counts(self) -> list[int]:
        """Rows of each expert, asked of the device if need be."""
        return self.routing.host_counts if self.counts is None else self.counts

    @property
    def total(self) -> int:
        """Valid assignments."""
        return sum(self.known_counts)

    @property
    def spare(self) -> int:
        """1 where some assignments are of no expert and need a place to be at, else 0."""
        return int(self.total < len(self.routing.expert))

    def pieces(self, weights: Sequence[Tensor]) -> list[dict[str, Tensor | None]]:
        """Each expert's own weights by name."""
        absent = dict.fromkeys(self.experts._parameters)
        unbound = zip(*(weight.unbind(0) for weight in weights), strict=True)
        return [{**absent, **dict(zip(self.names, own, strict=True))} for own in unbound]

    def named(self, weights: Sequence[Any]) -> dict[str, Any]:
        """The weights by name, absent ones as None."""
        named: dict[str, Any] = dict.fromkeys(self.experts._parameters)
        named.update(zip(self.names, weights, strict=True))
        return named

    def unbound(self, weights: Sequence[Tensor]) -> dict[str, Any]:
        """The weights by name, one tensor for each expert, absent ones as None."""
        return self.named([weight.unbind(0) for weight in weights])

    def sorted_rows(self, like: Tensor, total: int, width: int, dtype: torch.dtype) -> Tensor:
        """Memory for rows in the experts' order; one row of zeros behind them if some are of none.

        Args:
            like: a tensor on the device.
            total: rows.
            width: of a row.
            dtype: of the rows.
        """
        rows = like.new_empty(total + self.spare, width, dtype=dtype)
        rows[total:] = 0
        return rows

    def to_units(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Sums over each unit's choices, weighted or not, of rows made by `sorted_rows`."""
        place = self.routing.place
        assert place is not None
        if len(rows) != place.numel():
            nowhere = len(rows) - 1
            if weight is not None:
                weight = weight.masked_fill(place >= nowhere, 0.0)
            place = place.clamp_max(nowhere)
        return collect(rows, place, weight)


def work_for(
    experts: StackedExperts, x: Tensor, routing: Routing, counts: list[int] | None = None
) -> tuple[Work, Tensor, list[Tensor]]:
    """The work, and the input and weights in the precision to compute in."""
    kernel = experts.kernel_now()
    assert kernel is not None
    present = {name: value for name, value in experts.weights().items() if value is not None}
    weights = list(present.values())
    narrow = autocast_dtype(x)
    inner = 1 if x.ndim == 2 else math.prod(x.shape[1:-1])
    keep = Keep.NOTHING
    if torch.is_grad_enabled():
        few = x.is_cpu and routing.expert.shape[0] * inner <= FEW_ROWS
        keep = Keep.MORE if few else Keep.LEAST
    work = Work(kernel, experts, tuple(present), routing, counts, x.dtype, inner, keep)
    if narrow is not None:
        x = x.to(narrow)
        weights = [weight.to(narrow) for weight in weights]
    return work, x, weights


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x.to(dtype)` without the call where there is nothing to do."""
    return x if x.dtype == dtype else x.to(dtype)


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The precision that autocast asks for, if it is on."""
    if not torch.is_autocast_enabled(x.device.type):
        return None
    return torch.get_autocast_dtype(x.device.type)


def wanted(
    names: tuple[str, ...], weights: list[Tensor], needed: tuple[bool, ...]
) -> dict[str, Tensor]:
    """The weights by name that want a gradient, which a layout puts in their place."""
    return {name: weight for name, weight, need in zip(names, weights, needed, strict=True) if need}


def weigh(chosen: Tensor, weight: Tensor, work: Work) -> Tensor:
    """Weighted sums per unit of outputs that are in the order of the units' choices."""
    index = work.routing.index
    assert index is not None
    if index.shape[1] == 1:
        return cast(chosen, work.out_dtype) * cast(weight, work.out_dtype).reshape(-1, 1)
    weighted = (chosen * weight.reshape(-1, 1)).view(*index.shape, -1)  # in the weights' precision
    return cast(weighted.sum(1), work.out_dtype)


def weigh_back(
    grad: Tensor, chosen: Tensor, weight: Tensor, routing: Routing
) -> tuple[Tensor, Tensor]:
    """Gradients of the weights, and of the outputs in the order of the units' choices."""
    assert routing.choices is not None
    if routing.choices > 1:
        grad = grad.repeat_interleave(routing.choices, 0)
    grad_weight = (grad * chosen).sum(1).view(weight.shape)
    weighted = grad * cast(weight, grad.dtype).reshape(-1, 1)
    return cast(grad_weight, weight.dtype), weighted


def second_derivative(
    work: Work, grad: Tensor, x: Tensor, gate: Tensor, weights: list[Tensor]
) -> tuple[Any, ...]:
    """Gradients that can be differentiated again: plain operations, made anew."""
    with torch.enable_grad():
        routing = work.routing
        rows = x.index_select(0, routing.sorted_unit[: work.total]).split(work.known_counts)
        pieces = zip(rows, work.pieces(weights), strict=True)
        outputs = torch.cat([work.experts.compute(piece, own, Single()) for piece, own in pieces])
        sorted_gate = gate.reshape(-1).index_select(0, routing.order[: work.total])
        weighted = outputs * sorted_gate.view(-1, *[1] * (outputs.ndim - 1))
        y = weighted.new_zeros(len(x), *outputs.shape[1:])
        y = y.index_add(0, routing.sorted_unit[: work.total], weighted).to(work.out_dtype)
        inputs = [t for t in (x, gate, *weights) if t.requires_grad]
        found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True, allow_unused=True))
    return tuple(next(found) if t.requires_grad else None for t in (x, gate, *weights))
