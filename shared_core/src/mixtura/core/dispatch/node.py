"""A dispatch as one node of the graph: what the kernel dispatches share.

Forward keeps the units' own rows and one tensor per piece of work; gathered rows, activations and
outputs are made again in backward or never kept. The gradient of a combine weight comes from the
hidden units (`<grad W_down, hidden>`), so outputs need not be kept either (SonicMoE,
arXiv 2512.14080).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mixtura.core.experts.kernel import Kernel
from mixtura.core.experts.layouts import Single
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.routing import Routing
from mixtura.core.rows import collect

__all__ = ["Work", "autocast_dtype", "gradient_buffers", "second_derivative", "work_for"]


@dataclass(frozen=True)
class Work:
    """What a kernel dispatch has to do, apart from tensors that carry gradients.

    Attributes:
        kernel: the experts' mathematics.
        experts: the bank, for derivatives of derivatives.
        names: names of the stacked weights in the order in which they are passed.
        routing: the decision.
        counts: rows of each expert, where the host knows.
        out_dtype: of the result.
    """

    kernel: Kernel
    experts: StackedExperts
    names: tuple[str, ...]
    routing: Routing
    counts: list[int] | None
    out_dtype: torch.dtype

    @property
    def known_counts(self) -> list[int]:
        """Rows of each expert, asked of the device if need be."""
        return self.routing.counts.tolist() if self.counts is None else self.counts

    @property
    def total(self) -> int:
        """Valid assignments."""
        return sum(self.known_counts)

    def pieces(self, weights: tuple[Tensor, ...] | list[Tensor]) -> list[dict[str, Tensor | None]]:
        """Each expert's own weights by name."""
        absent = dict.fromkeys(self.experts._parameters)
        unbound = zip(*(weight.unbind(0) for weight in weights), strict=True)
        return [{**absent, **dict(zip(self.names, own, strict=True))} for own in unbound]

    def named(self, weights: tuple[Tensor, ...] | list[Tensor]) -> dict[str, Tensor | None]:
        """The weights by name, absent ones as None."""
        return {
            **dict.fromkeys(self.experts._parameters),
            **dict(zip(self.names, weights, strict=True)),
        }

    def to_units(self, rows: Tensor, place: Tensor) -> Tensor:
        """Sums of rows over each unit's choices; places behind the last row are of no expert."""
        if self.total < len(self.routing.expert):
            place = place.clamp_max(len(rows))
            rows = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
        return collect(rows, place)


def work_for(
    experts: StackedExperts, x: Tensor, routing: Routing, counts: list[int] | None = None
) -> tuple[Work, Tensor, list[Tensor]]:
    """The work, and the input and weights in the precision to compute in."""
    kernel = experts.kernel_now()
    assert kernel is not None
    present = {name: value for name, value in experts.weights().items() if value is not None}
    weights = list(present.values())
    narrow = autocast_dtype(x)
    work = Work(kernel, experts, tuple(present), routing, counts, x.dtype)
    if narrow is not None:
        x = x.to(narrow)
        weights = [weight.to(narrow) for weight in weights]
    return work, x, weights


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The precision that autocast asks for, if it is on."""
    if not torch.is_autocast_enabled(x.device.type):
        return None
    return torch.get_autocast_dtype(x.device.type)


def gradient_buffers(
    names: tuple[str, ...], weights: list[Tensor], wanted: tuple[bool, ...]
) -> dict[str, Tensor]:
    """Empty stacked gradients of the weights that want one."""
    return {
        name: torch.empty_like(weight)
        for name, weight, want in zip(names, weights, wanted, strict=True)
        if want
    }


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
