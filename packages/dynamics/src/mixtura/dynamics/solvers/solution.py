"""What an integration returns: states, and how each trajectory ended."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core import InputError

__all__ = ["Field", "Solution", "Status", "check_problem"]

Field = Callable[[Tensor, Tensor], Tensor]
"""dx/dt of (t (units, trajectories, 1), x (units, trajectories, dims)), in the shape of x."""


class Status(IntEnum):
    """How a trajectory ended."""

    OK = 0
    MAX_STEPS = 1
    NOT_FINITE = 2


@dataclass
class Solution:
    """States at the requested times, and how each trajectory ended.

    Attributes:
        states: (units, trajectories, times, dims). After `stopped_at` the last state is repeated.
        status: `Status` of each trajectory.
        stopped_at: last time that was reached.
        num_steps: accepted steps.
    """

    states: Float[Tensor, "units trajectories times dims"]
    status: Int[Tensor, "units trajectories"]
    stopped_at: Float[Tensor, "units trajectories"]
    num_steps: Int[Tensor, "units trajectories"]

    @property
    def ok(self) -> Bool[Tensor, "units trajectories"]:
        """Trajectories that reached their last time."""
        return self.status == Status.OK

    def failures(self, numbers: Int[Tensor, "units"] | None = None) -> list[str]:
        """One sentence per trajectory that did not reach its last time.

        Args:
            numbers: of the environments; their places when not given.
        """
        named = range(len(self.status)) if numbers is None else numbers.tolist()
        reasons = {
            int(Status.MAX_STEPS): "used all its steps",
            int(Status.NOT_FINITE): "grew beyond the bound",
        }
        return [
            f"environment {named[unit]}, trajectory {n} {reasons[int(self.status[unit, n])]} "
            f"at t = {float(self.stopped_at[unit, n]):.4g}"
            for unit, n in torch.nonzero(self.status != Status.OK).tolist()
        ]


def check_problem(
    x0: Float[Tensor, "units trajectories dims"], t: Tensor
) -> Float[Tensor, "units times"]:
    """Times as (units, times); they may be given once for all units.

    Raises:
        InputError: for shapes that do not belong together or times that do not increase.
    """
    if x0.ndim != 3:
        raise InputError(
            f"expected initial states (environments, trajectories, dims), got {tuple(x0.shape)}"
        )
    t = t.expand(x0.shape[0], -1) if t.ndim == 1 else t
    if t.ndim != 2 or t.shape[0] != x0.shape[0] or t.shape[1] < 2:
        raise InputError(
            f"expected at least two times, shared or one row for each of {x0.shape[0]} "
            f"environments, got shape {tuple(t.shape)}"
        )
    steps = t.diff(dim=1)
    if bool((steps <= 0).any()):
        unit, position = torch.nonzero(steps <= 0)[0].tolist()
        raise InputError(
            f"times must strictly increase, environment {unit} has {float(t[unit, position]):g} "
            f"then {float(t[unit, position + 1]):g}; sort them and drop repeats"
        )
    return t
