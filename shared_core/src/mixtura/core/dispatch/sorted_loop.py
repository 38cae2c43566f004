"""Rows sorted by expert, each expert a few plain matrix products."""

from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing

__all__ = ["SortedLoop"]


@register_dispatch("sorted_loop")
class SortedLoop(Dispatch):
    """Works for every kind of expert; with many rows for each as fast as a dense layer on a CPU."""

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Gather, one expert after the other, combine."""
        return routing.combine(experts(routing.gather(x), routing), x.dtype)
