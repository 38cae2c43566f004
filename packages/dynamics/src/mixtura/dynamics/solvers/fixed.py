"""Fixed-step Runge-Kutta for many environments at once."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mixtura.core import InputError, configurable
from mixtura.dynamics.solvers.adjoint import rk4_states
from mixtura.dynamics.solvers.solution import Field, Solution, Status, check_problem
from mixtura.dynamics.solvers.tableau import RK4_TABLEAU, TSIT5_TABLEAU, Tableau

__all__ = ["RK4", "FixedStep", "Tsit5"]

Step = Callable[[Tensor, Tensor, Tensor], Tensor]


class FixedStep(nn.Module):
    """Base: `substeps` equal steps between consecutive output times, which need not be equidistant.

    All environments advance together, each with its own step size. A state beyond `bound` is held
    there, which keeps a trajectory that explodes finite; its status tells where it did.

    Args:
        substeps: steps between two output times.
        checkpoint_every: keep the graph of so many output intervals only and recompute it in
            backward (0: keep everything). Use it for long horizons.
        bound: largest absolute state.

    Attributes:
        discrete: whether a map is applied instead of a vector field integrated.
    """

    tableau: Tableau
    discrete = False

    def __init__(self, substeps: int = 1, checkpoint_every: int = 0, bound: float = 1e6) -> None:
        super().__init__()
        if substeps < 1:
            raise InputError(f"substeps must be at least 1, got {substeps}")
        self.substeps = substeps
        self.checkpoint_every = checkpoint_every
        self.bound = bound

    def step(self, field: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
        """One step of size `h` (units, 1, 1) from `x` at `t`."""
        stages: list[Tensor] = []
        for node, row in zip(self.tableau.nodes, self.tableau.matrix, strict=True):
            point = x
            for weight, stage in zip(row, stages, strict=False):
                if weight:
                    point = torch.addcmul(point, h, stage, value=weight)
            stages.append(field(t + node * h, point))
        for weight, stage in zip(self.tableau.weights, stages, strict=True):
            if weight:
                x = torch.addcmul(x, h, stage, value=weight)
        return x

    def advance(self, field: Field, x: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """States at the ends of the intervals that begin at `t` (intervals, units, 1, 1)."""
        states = []
        for start, size in zip(t.unbind(0), h.unbind(0), strict=True):
            for k in range(self.substeps):
                x = self.step(field, start + k * size, x, size)
            x = x.clamp(-self.bound, self.bound)
            states.append(x)
        return torch.stack(states, 2)

    def forward(
        self,
        field: Field,
        x0: Float[Tensor, "units trajectories dims"],
        t: Float[Tensor, "*times"],
    ) -> Solution:
        """Integrate from `x0`.

        Args:
            field: the vector field of all environments.
            x0: initial states.
            t: times (times) or (units, times); the first one belongs to `x0`.
        """
        times = check_problem(x0, t).to(x0.dtype)
        starts = times[:, :-1].T[..., None, None]
        sizes = times.diff(dim=1).T[..., None, None] / self.substeps
        later = self.later_states(field, x0, starts, sizes)
        return self.report(torch.cat([x0[:, :, None], later], 2), times)

    def later_states(self, field: Field, x0: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """States (units, trajectories, intervals, dims) at the ends of all intervals."""
        stride = self.checkpoint_every or len(t)
        pieces, x = [], x0
        for first in range(0, len(t), stride):
            block = (field, x, t[first : first + stride], h[first : first + stride])
            if self.checkpoint_every and torch.is_grad_enabled():
                piece = checkpoint(self.advance, *block, use_reentrant=False)
            else:
                piece = self.advance(*block)
            pieces.append(piece)
            x = piece[:, :, -1]
        return torch.cat(pieces, 2)

    def report(self, states: Tensor, times: Tensor) -> Solution:
        """Status of each trajectory, read off its states."""
        with torch.no_grad():
            # NaN compares false, so this one test catches both kinds of failure
            inside = (states.abs() < self.bound).all(-1)
            ok = inside.all(-1)
            reached = torch.where(ok, inside.shape[-1], inside.to(torch.int8).argmin(-1)) - 1
            stopped_at = times.gather(1, reached.clamp_min(0))
            status = torch.where(ok, int(Status.OK), int(Status.NOT_FINITE))
        return Solution(states, status, stopped_at, reached.clamp_min(0) * self.substeps)


@configurable
class RK4(FixedStep):
    """The classical fourth-order method; the last stage is evaluated at the end of the step.

    Args:
        substeps: steps between two output times.
        checkpoint_every: keep the graph of so many output intervals only and recompute it in
            backward (0: keep everything). Use it for long horizons.
        bound: largest absolute state.
        discrete_adjoint: differentiate solves through perceptrons with `adjoint.rk4_states`, which
            is faster; switch it off for gradients of gradients.
    """

    tableau = RK4_TABLEAU

    def __init__(
        self,
        substeps: int = 1,
        checkpoint_every: int = 0,
        bound: float = 1e6,
        discrete_adjoint: bool = True,
    ) -> None:
        super().__init__(substeps, checkpoint_every, bound)
        self.discrete_adjoint = discrete_adjoint

    def later_states(self, field: Field, x0: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """Through the hand-written adjoint where the field shows its layers."""
        chain = getattr(field, "chain", None)
        fast = self.discrete_adjoint and not self.checkpoint_every and torch.is_grad_enabled()
        if chain is None or not fast:
            return super().later_states(field, x0, t, h)
        return rk4_states(chain, x0, h, self.substeps, self.bound).movedim(0, 2)

    def step(self, field: Field, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
        """One step, with as few operations as possible: small systems are bound by their number."""
        middle = t + 0.5 * h
        k1 = field(t, x)
        k2 = field(middle, torch.addcmul(x, h, k1, value=0.5))
        k3 = field(middle, torch.addcmul(x, h, k2, value=0.5))
        k4 = field(t + h, torch.addcmul(x, h, k3))
        slope = torch.add(torch.add(k1, k2, alpha=2), k3, alpha=2) + k4
        return torch.addcmul(x, h / 6, slope)


@configurable
class Tsit5(FixedStep):
    """Tsitouras' fifth-order method with fixed steps."""

    tableau = TSIT5_TABLEAU
