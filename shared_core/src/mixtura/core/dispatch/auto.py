"""The dispatch that chooses a dispatch."""

import logging
import math

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, dispatch_by_name, register_dispatch
from mixtura.core.dispatch.node import FEW_ROWS
from mixtura.core.experts.base import Experts
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.routing import Routing

__all__ = ["Auto", "choose"]

logger = logging.getLogger(__name__)

CHOICES = ("sorted_loop", "stacked_loop", "padded_bmm", "grouped_mm", "dense_all")
ROWS_OF_A_LOOP = 160  # per expert; below, reading and writing the weights costs most


@register_dispatch("auto")
class Auto(Dispatch):
    """Chooses by device, precision and size, and logs each choice once (at level INFO).

    Measured by `./just bench core`; name a dispatch to choose otherwise.
    """

    def __init__(self) -> None:
        self._dispatches = {name: dispatch_by_name(name) for name in CHOICES}
        self._told: set[str] = set()

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Whatever the chosen dispatch gives."""
        name = choose(experts, x, routing)
        if not torch.compiler.is_compiling() and name not in self._told:
            self._told.add(name)
            logger.info(
                "dispatch %s for %s with %d experts: %d assignments of %d units, %s on %s",
                name,
                type(experts).__name__,
                experts.num_experts,
                routing.expert.shape[0],
                x.shape[0],
                x.dtype,
                x.device.type,
            )
        return self._dispatches[name](experts, x, routing)


def choose(experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing) -> str:
    """Name of the fastest dispatch that fits.

    Args:
        experts: who works.
        x: the units.
        routing: the decision; only its sizes matter.
    """
    if experts.prefers_mix:
        return "dense_all"
    stacked = isinstance(experts, StackedExperts)
    if torch.compiler.is_compiling():  # nothing there may depend on the counts
        return "grouped_mm" if stacked and not torch.compiler.is_exporting() else "dense_all"
    if not stacked:
        return "sorted_loop"
    if not x.is_cpu:
        return "grouped_mm"
    if experts.kernel_now() is None or routing.index is None:
        return "sorted_loop"
    shape = x.shape
    rows = routing.expert.shape[0] * (1 if len(shape) == 2 else math.prod(shape[1:-1]))
    if rows <= FEW_ROWS and experts.num_experts <= 8:
        precise = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        return "grouped_mm" if precise else "padded_bmm"
    if not torch.is_grad_enabled() or rows < ROWS_OF_A_LOOP * experts.num_experts:
        return "stacked_loop"
    return "sorted_loop"
