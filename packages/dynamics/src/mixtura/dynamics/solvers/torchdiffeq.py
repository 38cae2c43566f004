"""torchdiffeq as a backend."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import InputError, configurable
from mixtura.dynamics.solvers.solution import Field, Solution, Status, check_problem

__all__ = ["TorchDiffEq"]


@configurable
class TorchDiffEq(nn.Module):
    """Any method of torchdiffeq, with one step size for the whole batch.

    Times are mapped to [0, 1] per environment, so that environments may have different horizons.
    The result of a trajectory depends on its companions; `AdaptiveTsit5` does not have this flaw.

    Chen, torchdiffeq, 2018 (MIT).

    Args:
        method: name of the method in torchdiffeq.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    def __init__(self, method: str = "dopri5", rtol: float = 1e-3, atol: float = 1e-6) -> None:
        super().__init__()
        try:
            import torchdiffeq  # noqa: F401
        except ModuleNotFoundError as error:
            raise InputError(
                "the torchdiffeq backend is not installed; pip install "
                "'mixtura-dynamics[torchdiffeq]' "
                "or choose RK4 or AdaptiveTsit5"
            ) from error
        self.method, self.rtol, self.atol = method, rtol, atol

    def forward(
        self,
        field: Field,
        x0: Float[Tensor, "units trajectories dims"],
        t: Float[Tensor, "*times"],
    ) -> Solution:
        """Integrate from `x0`; see `FixedStep.forward`."""
        from torchdiffeq import odeint

        times = check_problem(x0, t).to(x0.dtype)
        span = (times[:, -1] - times[:, 0])[:, None, None]
        fractions = (times - times[:, :1]) / span[:, :, 0]
        if not torch.allclose(fractions, fractions[:1].expand_as(fractions), atol=1e-6):
            raise InputError(
                "torchdiffeq needs the same relative time grid in every environment; use RK4 or "
                "AdaptiveTsit5 for grids of their own"
            )
        start = times[:, :1, None]

        def scaled(s: Tensor, x: Tensor) -> Tensor:
            return span * field(start + s * span, x)

        solved = odeint(
            scaled, x0, fractions[0], method=self.method, rtol=self.rtol, atol=self.atol
        )
        states = torch.as_tensor(solved).movedim(0, 2)
        finite = states.isfinite().all(-1).all(-1)
        status = torch.where(finite, int(Status.OK), int(Status.NOT_FINITE))
        return Solution(states, status, times[:, -1:].expand_as(status), torch.zeros_like(status))
