"""What every bank of experts offers, whatever an expert is."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.routing import Routing, combine

__all__ = ["Experts"]


class Experts(nn.Module):
    """Base of the expert banks.

    A subclass defines `one`; everything else follows from it, one expert after the other.
    `StackedExperts` computes the same things without a loop.

    Attributes:
        num_experts: E.
        dim: width of a row, where all experts take the same.
        stacked: whether `batched` and `grouped` compute all experts at once.
        prefers_mix: whether `mix` is cheaper than moving the rows to their experts.
    """

    num_experts: int
    dim: int | None = None
    stacked: bool = False
    prefers_mix: bool = False

    def one(self, expert: int, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *out"]:
        """Output of one expert for rows that are all its own."""
        raise NotImplementedError

    def loop(
        self, rows: Float[Tensor, "rows *rest"], counts: Sequence[int]
    ) -> Float[Tensor, "rows *out"]:
        """Outputs for rows sorted by expert, one expert after the other.

        Args:
            rows: the rows of expert 0, then those of expert 1, and so on.
            counts: how many rows each expert has; they add up to all rows.
        """
        pieces = rows.split(list(counts))
        outputs = [self.one(e, piece) for e, piece in enumerate(pieces) if piece.shape[0]]
        return torch.cat(outputs) if outputs else self.one(0, rows)

    def batched(
        self, rows: Float[Tensor, "experts rows *rest"]
    ) -> Float[Tensor, "experts rows *out"]:
        """Outputs when every expert has the same number of rows."""
        return torch.stack([self.one(e, piece) for e, piece in enumerate(rows.unbind(0))])

    def all(self, x: Float[Tensor, "units *rest"]) -> Float[Tensor, "units experts *out"]:
        """Output of every expert for every unit, for any number of gates to mix."""
        return torch.stack([self.one(e, x) for e in range(self.num_experts)], 1)

    def mix(self, x: Float[Tensor, "units *rest"], routing: Routing) -> Float[Tensor, "units *out"]:
        """The weighted sum over each unit's experts with nothing moved: all work, the gates mix."""
        return combine(self.all(x), routing)

    def bind(self, routing: Routing) -> Callable[[Tensor], Tensor]:
        """A function of rows alone, for a routing that stays fixed in an ODE solve or a search.

        Args:
            routing: one valid choice per unit, or more.

        Returns:
            `f(x (units, *rest)) -> (units, *out)`: what dispatching `x` by `routing` gives.
        """
        counts = routing.counts.tolist()
        total = sum(counts)

        def bound(x: Tensor) -> Tensor:
            return routing.combine(self.loop(routing.gather(x)[:total], counts))

        return bound

    def forward(
        self, rows: Float[Tensor, "assignments *rest"], routing: Routing
    ) -> Float[Tensor, "valid *out"]:
        """Outputs for the rows that `routing.gather` brought into the experts' order.

        The rows of invalid assignments, which are the last ones, are left out.
        """
        counts = routing.counts.tolist()
        total = sum(counts)
        return self.loop(rows if total == len(rows) else rows[:total], counts)
