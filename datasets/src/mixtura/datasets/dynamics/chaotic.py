"""Chaotic systems in three dimensions, for long-term statistics and Lyapunov exponents."""

from collections.abc import Callable

import numpy as np

from mixtura.datasets.dynamics.environments import DynamicsData, Environments
from mixtura.datasets.dynamics.integration import Precision, solve

__all__ = ["CHAOTIC", "chaotic", "chaotic_series", "lorenz63", "rossler"]


def lorenz63(_: float, x: np.ndarray) -> np.ndarray:
    """Lorenz, 1963: sigma 10, rho 28, beta 8/3; largest Lyapunov exponent 0.906."""
    return np.array([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])


def rossler(_: float, x: np.ndarray) -> np.ndarray:
    """Rössler, 1976: a 0.2, b 0.2, c 5.7; largest Lyapunov exponent 0.071."""
    return np.array([-x[1] - x[2], x[0] + 0.2 * x[1], 0.2 + x[2] * (x[0] - 5.7)])


Field = Callable[[float, np.ndarray], np.ndarray]

CHAOTIC: dict[str, tuple[Field, float]] = {"lorenz63": (lorenz63, 0.01), "rossler": (rossler, 0.05)}
"""Vector field and sampling interval of each system."""


def chaotic_series(name: str, length: int = 20000, transient: int = 5000) -> np.ndarray:
    """States (length, 3) on the attractor, float32, from (1, 1, 1) after a transient."""
    field, dt = CHAOTIC[name]
    t = dt * np.arange(transient + length)
    x = solve(field, np.ones(3), t, precision=Precision.high())
    return x[transient:].astype(np.float32)


def chaotic(name: str, pieces: int = 100, samples: int = 50, long: int = 5000) -> DynamicsData:
    """One chaotic system, cut into trajectories to learn from, and a long run to compare with.

    Args:
        name: of the system.
        pieces: trajectories to train on; a fifth as many are to test on.
        samples: of a trajectory, two integration intervals apart.
        long: samples of the long run.
    """
    dt = 2 * CHAOTIC[name][1]
    held_out = pieces // 5
    total = (pieces + held_out) * samples + long
    x = chaotic_series(name, 2 * total)[::2]
    cut = x[: (pieces + held_out) * samples].reshape(1, pieces + held_out, samples, 3)
    t = dt * np.arange(samples)
    return DynamicsData(
        name,
        train=Environments(cut[:, :pieces], t),
        test=Environments(cut[:, pieces:], t),
        long=Environments(x[None, None, -long:], dt * np.arange(long)),
        notes="trajectories are consecutive pieces of one run on the attractor",
    )
