"""Ground truth: solve an initial value problem the way the published data sets were solved."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp

__all__ = ["Precision", "in_single_precision", "solve"]

Field = Callable[[float, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Precision:
    """Integrator settings: the published sets use scipy's defaults, about 1e-3 relative error.

    Args:
        method: scipy's solver name.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    method: str = "RK45"
    rtol: float = 1e-3
    atol: float = 1e-6

    @classmethod
    def high(cls) -> "Precision":
        """DOP853 at 1e-10 / 1e-12: use it when an error below 1e-6 has to mean something."""
        return cls("DOP853", 1e-10, 1e-12)


def solve(
    field: Field,
    x0: np.ndarray,
    t: np.ndarray,
    span: tuple[float, float] | None = None,
    precision: Precision | None = None,
) -> np.ndarray:
    """States (times, dims) of dx/dt = field(t, x) at the times `t`, the first one `x0`.

    The solver steps over `span`, which defaults to the ends of `t`.

    Raises:
        RuntimeError: when the solver gives up before the last time.
    """
    precision = precision or Precision()
    solution = solve_ivp(
        field,
        span or (float(t[0]), float(t[-1])),
        x0,
        method=precision.method,
        t_eval=t,
        rtol=precision.rtol,
        atol=precision.atol,
    )
    if not solution.success:
        raise RuntimeError(f"the integration stopped before t = {t[-1]:g}: {solution.message}")
    return solution.y.T


def in_single_precision(make_field: Callable[..., Field]) -> Callable[..., Field]:
    """Round the derivatives to float32, as the published Lotka-Volterra set does.

    The rounding moves the step control: without it the arrays differ by up to 1e-2 late in a
    trajectory.
    """

    def make(*parameters: float) -> Field:
        field = make_field(*parameters)
        return lambda t, state: field(t, state).astype(np.float32)

    return make
