"""Maps in discrete time, where others integrate a vector field."""

from torch import Tensor

from mixtura.core import configurable
from mixtura.dynamics.solvers.fixed import FixedStep
from mixtura.dynamics.solvers.solution import Field

__all__ = ["Iteration"]


@configurable
class Iteration(FixedStep):
    """Apply a map `substeps` times from each sample to the next, whatever the time between them.

    Args:
        substeps: applications between two output times.
        checkpoint_every: see `FixedStep`.
        bound: largest absolute state.
    """

    discrete = True

    def step(self, field: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
        """The state that follows `x`."""
        return field(t, x)
