"""Experts of one shape with their weights stacked in one tensor each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.experts.base import Experts
from mixtura.core.experts.kernel import Kernel
from mixtura.core.experts.layouts import Batched, Grouped, Layout, Single
from mixtura.core.routing import Routing

__all__ = ["StackedExperts", "init_per_expert"]


class StackedExperts(Experts):
    """Base of the banks whose parameters all have the shape (experts, ...).

    A subclass registers its parameters and writes `compute` once; the loop over experts, the
    batched and the grouped product, the dense mixture and the bound function all use it.

    Attributes:
        kernel: `compute` without dropout together with its derivative, where it is written out.
        dropout: inside the expert, in training.
    """

    stacked = True
    kernel: Kernel | None = None
    dropout: float = 0.0

    def kernel_now(self) -> Kernel | None:
        """The kernel, if it does what `compute` does in the present mode."""
        return None if self.training and self.dropout else self.kernel

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Layout) -> Tensor:
        """What an expert does to its rows.

        Args:
            rows: input rows.
            weights: the parameters by name, sliced or stacked as `layout` needs them; an absent
                one is None.
            layout: how to multiply (`layout.linear`) and how to broadcast (`layout.vector`).
        """
        raise NotImplementedError

    def weights(self) -> dict[str, Tensor | None]:
        """The stacked parameters by name."""
        return dict(self._parameters)

    def one(self, expert: int, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *out"]:
        """Output of one expert."""
        weights = {k: None if v is None else v[expert] for k, v in self.weights().items()}
        return self.compute(rows, weights, Single())

    def loop(
        self, rows: Float[Tensor, "rows *rest"], counts: Sequence[int]
    ) -> Float[Tensor, "rows *out"]:
        """Outputs for rows sorted by expert, one expert after the other."""
        return self.loop_with(self.weights(), rows, counts)

    def loop_with(
        self, weights: Mapping[str, Tensor | None], rows: Tensor, counts: Sequence[int]
    ) -> Tensor:
        """`loop` with weights from elsewhere, such as a shard of them: one expert per count.

        They are unbound all at once: indexing one expert at a time would make autograd build a
        full-size gradient for each.
        """
        unbound = {
            name: [None] * len(counts) if value is None else value.unbind(0)
            for name, value in weights.items()
        }
        layout = Single()
        outputs = []
        for expert, piece in enumerate(rows.split(list(counts))):
            if len(piece):
                own = {name: values[expert] for name, values in unbound.items()}
                outputs.append(self.compute(piece, own, layout))
        if outputs:
            return torch.cat(outputs)
        return self.compute(rows, {name: values[0] for name, values in unbound.items()}, layout)

    def batched(
        self, rows: Float[Tensor, "experts rows *rest"]
    ) -> Float[Tensor, "experts rows *out"]:
        """Outputs when every expert has the same number of rows: batched matrix products."""
        return self.compute(rows, self.weights(), Batched())

    def grouped(
        self, rows: Float[Tensor, "assignments *rest"], routing: Routing
    ) -> Float[Tensor, "assignments *out"]:
        """Outputs for rows in the experts' order by grouped matrix products, without a host sync.

        The rows of invalid assignments give whatever the experts make of zeros.
        """
        inner = rows[0].numel() // rows.shape[-1] if rows.shape[0] else 1
        expert = (
            routing.sorted_expert.repeat_interleave(inner) if inner > 1 else routing.sorted_expert
        )
        layout = Grouped(routing.offsets * inner, expert)
        output = self.compute(rows.reshape(-1, rows.shape[-1]), self.weights(), layout)
        return output.view(*rows.shape[:-1], output.shape[-1])

    def all(self, x: Float[Tensor, "units *rest"]) -> Float[Tensor, "units experts *out"]:
        """Output of every expert for every unit."""
        return self.batched(x.expand(self.num_experts, *x.shape)).transpose(0, 1)

    def bind(self, routing: Routing) -> Callable[[Tensor], Tensor]:
        """Gather each unit's own weights once; the function then is a batched matrix product."""
        if routing.choices != 1:
            return super().bind(routing)
        expert = routing.expert.clamp_max(self.num_experts - 1)
        gathered = {
            name: None if value is None else value.index_select(0, expert)
            for name, value in self.weights().items()
        }
        weight = routing.weight * (routing.expert < self.num_experts)
        layout = Batched()

        def bound(x: Tensor) -> Tensor:
            output = self.compute(x[:, None], gathered, layout)[:, 0]
            output = output * weight.view(-1, *[1] * (output.ndim - 1)).to(output.dtype)
            return output

        return bound


def init_per_expert(
    weight: nn.Parameter, init: Callable[[Tensor], Tensor] = nn.init.xavier_uniform_
) -> None:
    """Initialise each expert's matrix by itself: the fans of the stacked tensor are wrong."""
    with torch.no_grad():
        for matrix in weight:
            init(matrix)
