"""Does a system behave like the truth in the long run? Chaos forbids to compare point by point."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core import InputError
from mixtura.datasets.dynamics.environments import Environments
from mixtura.dynamics.metrics.horizon import mase, valid_prediction_time
from mixtura.dynamics.metrics.lyapunov import (
    lyapunov_of_data,
    lyapunov_of_field,
    lyapunov_of_map,
)
from mixtura.dynamics.metrics.spectrum import power_spectrum_distance
from mixtura.dynamics.metrics.state_space import (
    state_space_divergence,
    state_space_divergence_gmm,
)
from mixtura.dynamics.reconstruction import Reconstruction
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["attractor_scores", "largest_exponent", "long_term_scores"]

DENSE = 3
"""Dimensions up to which the state space is cut into bins."""

STARTS = 32
"""States from which the growth of perturbations is averaged."""


def attractor_scores(
    generated: Float[Tensor, "steps dims"],
    true: Float[Tensor, "times dims"],
    dt: float,
    lyapunov: float = 1.0,
    bins: int = 30,
    smoothing: float = 20,
) -> dict[str, float]:
    """State-space divergence, Hellinger distance of the spectra, MASE, valid prediction time.

    Args:
        generated: a long run of the model from the first true state.
        true: a long run of the system.
        dt: time between samples.
        lyapunov: largest exponent of the system, the unit of the valid prediction time.
        bins: per dimension; above three dimensions the divergence is that of Gaussian mixtures.
        smoothing: of the spectra.
    """
    if true.shape[1] <= DENSE:
        divergence = state_space_divergence(generated, true, bins)
    else:
        divergence = state_space_divergence_gmm(
            generated, true, generator=torch.Generator().manual_seed(0)
        )
    return {
        "d_stsp": float(divergence),
        "d_hellinger": float(power_spectrum_distance(generated, true, smoothing)),
        "mase": float(mase(generated, true)),
        "valid_prediction_time": valid_prediction_time(generated, true, dt, lyapunov),
    }


def one_environment(system: Reconstruction, environment: int) -> Callable[[Tensor], Tensor]:
    """Its field or map in the network's units, on states (starts, dims)."""
    index = torch.tensor([environment])
    bound = system.mixer.field(system.contexts[index].detach(), routing=system.route(index))
    return lambda x: bound(x[None])[0]


def largest_exponent(
    system: Reconstruction,
    environment: int,
    x0: Float[Tensor, "starts dims"],
    dt: float,
    steps: int = 400,
    transient: int = 100,
) -> float:
    """Largest Lyapunov exponent of what the system has learnt of a known environment.

    Args:
        system: the trained system.
        environment: one that it knows.
        x0: states on the attractor, in the units of the data; their growth is averaged.
        dt: duration of a step (of the map, for recurrent experts).
        steps: over which the growth is averaged.
        transient: steps that are thrown away before.
    """
    field = one_environment(system, environment)
    start = (x0 - system.center) / system.scale
    exponent = lyapunov_of_map if system.mixer.experts.discrete else lyapunov_of_field
    with torch.no_grad():
        return exponent(field, start, dt=dt, steps=steps, transient=transient)


@torch.no_grad()
def long_term_scores(
    system: Reconstruction, long: Environments, steps: int = 400
) -> list[dict[str, float]]:
    """Scores of every environment on its long run, with both largest Lyapunov exponents.

    Args:
        system: the trained system.
        long: one long trajectory of each environment.
        steps: over which the model's exponent is averaged.
    """
    true = Trajectories.of(long)
    if true.lengths is not None:
        raise InputError("long runs must all have the same length; cut them to the shortest")
    states = system(true.x0, true.t).states
    report = []
    for number in range(len(true)):
        series, dt = true.x[number, 0], float(true.t[number, 1] - true.t[number, 0])
        horizon = max(len(series) // 40, 20)
        exponent = lyapunov_of_data(series, dt, horizon, begin=horizon // 6)
        scores = attractor_scores(states[number, 0], series, dt, max(exponent, 0.0) or 1.0)
        scores["lyapunov_of_data"] = exponent
        starts = series[:: max(len(series) // STARTS, 1)][:STARTS]
        scores["lyapunov_of_model"] = largest_exponent(
            system, number, starts, dt, steps, steps // 4
        )
        report.append(scores)
    return report
