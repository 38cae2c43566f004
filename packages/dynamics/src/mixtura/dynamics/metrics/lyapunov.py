"""The largest Lyapunov exponent, of a model and of data."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["lyapunov_of_data", "lyapunov_of_field", "lyapunov_of_map"]


def lyapunov_of_map(
    step: Callable[[Tensor], Tensor],
    x0: Float[Tensor, "*starts dims"],
    steps: int,
    dt: float = 1.0,
    transient: int = 0,
) -> float:
    """Growth rate of a small perturbation of `x -> step(x)`, by tangent vectors.

    Benettin et al., Lyapunov characteristic exponents for smooth dynamical systems, 1980.

    Args:
        step: one time step of the model on states (*starts, dims).
        x0: where to begin; the growth from several starts is averaged.
        steps: how many steps are averaged.
        dt: duration of a step.
        transient: steps that are thrown away before.
    """
    random = torch.Generator().manual_seed(0)
    x, direction = x0, torch.randn(x0.shape, generator=random, dtype=x0.dtype).to(x0.device)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    total = 0.0
    with torch.no_grad(), forward_ad.dual_level():
        for number in range(transient + steps):
            x, direction = forward_ad.unpack_dual(step(forward_ad.make_dual(x, direction)))
            assert direction is not None
            growth = direction.norm(dim=-1, keepdim=True)
            direction = direction / growth
            if number >= transient:
                total += float(growth.log().mean())
    return total / (steps * dt)


def lyapunov_of_field(
    field: Callable[[Tensor], Tensor],
    x0: Float[Tensor, "*starts dims"],
    dt: float,
    steps: int,
    transient: int = 0,
) -> float:
    """The same for an autonomous vector field, stepped by RK4."""

    def step(x: Tensor) -> Tensor:
        k1 = field(x)
        k2 = field(x + dt / 2 * k1)
        k3 = field(x + dt / 2 * k2)
        k4 = field(x + dt * k3)
        return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return lyapunov_of_map(step, x0, steps, dt, transient)


def lyapunov_of_data(
    x: Float[Tensor, "times dims"],
    dt: float,
    horizon: int,
    theiler: int = 100,
    begin: int = 0,
) -> float:
    """Slope of the mean log distance between neighbours as they evolve.

    Rosenstein, Collins and De Luca, A practical method for calculating largest Lyapunov exponents
    from small data sets, 1993.

    Args:
        x: observed states.
        dt: time between samples.
        horizon: samples over which neighbours are followed.
        theiler: samples in time that neighbours are apart at least.
        begin: samples left out of the fit at the start, before the growth is exponential.
    """
    series = x.detach().cpu().numpy().astype(np.float64)
    usable = len(series) - horizon
    found = KDTree(series[:usable]).query(series[:usable], k=2 * theiler + 2)
    candidates = np.asarray(found[1])
    apart = np.abs(candidates - np.arange(usable)[:, None]) > theiler
    found = apart.any(1)
    neighbour = candidates[np.arange(usable), apart.argmax(1)]
    index = np.arange(usable)[found]
    neighbour = neighbour[found]
    curve = []
    for lag in range(horizon):
        distance = np.linalg.norm(series[index + lag] - series[neighbour + lag], axis=1)
        curve.append(np.log(distance[distance > 0]).mean())
    time = np.arange(begin, horizon) * dt
    return float(np.polyfit(time, np.array(curve[begin:]), 1)[0])
