"""Sel'kov's model of glycolysis: one family with a Hopf bifurcation among its environments."""

import numpy as np

from mixtura.datasets.dynamics.environments import DynamicsData, Environments
from mixtura.datasets.dynamics.integration import Precision, solve
from mixtura.datasets.dynamics.seeding import TEST_SEEDS, TRAIN_SEEDS, uniform_states

__all__ = ["selkov"]

KNOWN = np.concatenate(
    [np.linspace(-1, -0.25, 7), np.linspace(-0.1, 0.1, 7), np.linspace(0.25, 1, 7)]
)
NEW = np.array([-1.25, -0.65, -0.05, 0.02, 0.6, 1.2])


def selkov(precision: Precision | None = None) -> DynamicsData:
    """Dx = -x + a y + x^2 y, dy = b - a y - x^2 y with a = 0.1, at 0, 4, ..., 40.

    Returns:
        21 environments (b) with 4 and 4 trajectories, 6 new ones with 1 and 4; initial states
        uniform in [0, 3]^2. The training seeds count down and the test seeds up: the published
        arrays are drawn so.

    References:
        Sel'kov, 1968; Nzoyem et al., Neural Context Flows, arXiv 2405.02154.
    """
    t = np.linspace(0, 40, 11)

    def split(parameters: np.ndarray, count: int, seeds: range) -> Environments:
        starts = uniform_states(seeds[:count], 2) * 3.0
        x = np.stack(
            [[solve(field(b), x0, t, precision=precision) for x0 in starts] for b in parameters]
        )
        return Environments(x, t, np.zeros(len(parameters), dtype=np.int64), parameters[:, None])

    return DynamicsData(
        "selkov",
        train=split(KNOWN, 4, TEST_SEEDS),
        test=split(KNOWN, 4, TRAIN_SEEDS),
        ood_train=split(NEW, 1, TEST_SEEDS),
        ood_test=split(NEW, 4, TRAIN_SEEDS),
    )


def field(b: float, a: float = 0.1):
    """The vector field for one environment."""

    def derivative(_: float, state: np.ndarray) -> np.ndarray:
        x, y = state
        return np.array([-x + a * y + x**2 * y, b - a * y - x**2 * y])

    return derivative
