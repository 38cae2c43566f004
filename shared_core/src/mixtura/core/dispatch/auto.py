"""The dispatch that chooses a dispatch."""

from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.dispatch.dense_all import DenseAll
from mixtura.core.dispatch.sorted_loop import SortedLoop
from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing

__all__ = ["Auto"]


@register_dispatch("auto")
class Auto(Dispatch):
    """Chooses by device, precision and size."""

    def __init__(self) -> None:
        self.sorted_loop = SortedLoop()
        self.dense_all = DenseAll()

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Whatever the chosen dispatch gives."""
        if experts.prefers_mix:
            return self.dense_all(experts, x, routing)
        return self.sorted_loop(experts, x, routing)
