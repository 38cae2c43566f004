"""Lotka-Volterra: one family, nine environments, four new ones."""

import numpy as np

from mixtura.datasets.dynamics.environments import DynamicsData, Environments
from mixtura.datasets.dynamics.integration import Precision, in_single_precision, solve
from mixtura.datasets.dynamics.seeding import TEST_SEEDS, TRAIN_SEEDS, uniform_states

__all__ = ["lotka_volterra"]

RATES = (0.5, 0.75, 1.0)
NEW = ((0.625, 0.625), (0.625, 1.125), (1.125, 0.625), (1.125, 1.125))


def lotka_volterra(precision: Precision | None = None) -> DynamicsData:
    """Dx = x/2 - beta x y, dy = delta x y - y/2, on [0, 10) in steps of 0.5.

    Returns:
        9 environments (delta outer, beta inner, in 0.5, 0.75, 1) with 4 and 32 trajectories, and
        4 new ones with 1 and 32; initial states uniform in [1, 2]^2.

    References:
        Kirchmeyer et al., Generalizing to New Physical Systems via Context-Informed Dynamics
        Model, 2022, arXiv 2202.01889; Nzoyem et al., Neural Context Flows, arXiv 2405.02154.
    """
    t = np.linspace(0, 10, 20, endpoint=False)
    derivative = in_single_precision(field) if precision is None else field
    known = np.array([(beta, delta) for delta in RATES for beta in RATES])
    new = np.array(NEW)

    def split(parameters: np.ndarray, count: int, seeds: range) -> Environments:
        starts = uniform_states(seeds[:count], 2) + 1.0
        x = np.stack(
            [
                [solve(derivative(beta, delta), x0, t, (0.0, 10.0), precision) for x0 in starts]
                for beta, delta in parameters
            ]
        )
        return Environments(x, t, np.zeros(len(parameters), dtype=np.int64), parameters)

    return DynamicsData(
        "lotka_volterra",
        train=split(known, 4, TRAIN_SEEDS),
        test=split(known, 32, TEST_SEEDS),
        ood_train=split(new, 1, TRAIN_SEEDS),
        ood_test=split(new, 32, TEST_SEEDS),
    )


def field(beta: float, delta: float, alpha: float = 0.5, gamma: float = 0.5):
    """The vector field for one environment."""

    def derivative(_: float, state: np.ndarray) -> np.ndarray:
        x, y = state
        return np.array([alpha * x - beta * x * y, delta * x * y - gamma * y])

    return derivative
