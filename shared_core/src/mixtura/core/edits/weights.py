"""A factor on the combine weights."""

from collections.abc import Callable, Mapping

from torch import Tensor

from mixtura.core.edits.base import Edit
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing

__all__ = ["MultiplyWeights"]


class MultiplyWeights(Edit):
    """The weights of chosen experts are multiplied after the normalisation; nothing is rescaled.

    RICE (arXiv 2505.14681) reinforces a few experts with factors between 4 and 128.

    Args:
        factor: by expert number; or a tensor per expert or per unit and expert; or a function of
            the routing that gives a tensor per unit and expert.
    """

    stage = "multiply"

    def __init__(self, factor: Mapping[int, float] | Tensor | Callable[[Routing], Tensor]) -> None:
        self.factor = factor

    def on_routing(self, routing: Routing) -> Routing:
        """The decision with other weights."""
        return routing.with_weight(routing.weight * self._of(routing))

    def _of(self, routing: Routing) -> Tensor:
        factor = self.factor
        if isinstance(factor, Mapping):
            table = routing.weight.new_ones(routing.num_experts)
            for expert, value in factor.items():
                if not 0 <= expert < routing.num_experts:
                    raise InputError(
                        f"expert numbers must be between 0 and {routing.num_experts - 1}, "
                        f"got {expert}"
                    )
                table[expert] = value
        else:
            table = factor(routing) if callable(factor) else factor
        shapes = ((routing.num_experts,), (routing.num_units, routing.num_experts))
        if tuple(table.shape) not in shapes:
            raise InputError(
                f"a weight factor must be of shape {shapes[0]} or {shapes[1]}, "
                f"got {tuple(table.shape)}"
            )
        expert = routing.expert.clamp_max(routing.num_experts - 1)
        if table.ndim == 1:
            return table.to(routing.weight).index_select(0, expert)
        return table.to(routing.weight)[routing.unit, expert]
