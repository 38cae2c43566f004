"""Yeast glycolysis in seven dimensions: one stiff-ish family, nine environments, four new ones."""

import numpy as np

from mixtura.datasets.dynamics.environments import DynamicsData, Environments
from mixtura.datasets.dynamics.integration import Precision, solve
from mixtura.datasets.dynamics.seeding import TEST_SEEDS, TRAIN_SEEDS, uniform_states

__all__ = ["glycolytic"]

LOW = np.array([0.15, 0.19, 0.04, 0.10, 0.08, 0.14, 0.05])
HIGH = np.array([1.60, 2.16, 0.20, 0.35, 0.30, 2.67, 0.10])


def glycolytic(precision: Precision | None = None) -> DynamicsData:
    """The seven-species glycolytic oscillator on [0, 1) in steps of 0.05.

    Returns:
        9 environments (k1 in 100, 90, 80 outer; K1 in 1, 0.75, 0.5 inner) with 32 and 32
        trajectories, 4 new ones with 1 and 32.

    References:
        Daniels and Nemenman, Efficient inference of parsimonious phenomenological models of
        cellular dynamics, 2015; Kirchmeyer et al., 2022, arXiv 2202.01889.
    """
    t = np.linspace(0, 1, 20, endpoint=False)
    known = np.array([(k1, K1) for k1 in (100.0, 90.0, 80.0) for K1 in (1.0, 0.75, 0.5)])
    new = np.array([(k1, K1) for k1 in (85.0, 95.0) for K1 in (0.625, 0.875)])

    def split(parameters: np.ndarray, count: int, seeds: range) -> Environments:
        starts = LOW + (HIGH - LOW) * uniform_states(seeds[:count], 7)
        x = np.stack(
            [
                [solve(field(k1, K1), x0, t, (0.0, 1.0), precision) for x0 in starts]
                for k1, K1 in parameters
            ]
        )
        return Environments(x, t, np.zeros(len(parameters), dtype=np.int64), parameters)

    return DynamicsData(
        "glycolytic",
        train=split(known, 32, TRAIN_SEEDS),
        test=split(known, 32, TEST_SEEDS),
        ood_train=split(new, 1, TRAIN_SEEDS),
        ood_test=split(new, 32, TEST_SEEDS),
    )


def field(k1: float, K1: float):
    """The vector field for one environment."""
    J0, k2, k3, k4, k5, k6 = 2.5, 6.0, 16.0, 100.0, 1.28, 12.0
    q, N, A, kappa, psi, k = 4, 1.0, 4.0, 13.0, 0.1, 1.8

    def derivative(_: float, state: np.ndarray) -> np.ndarray:
        s1, s2, s3, s4, s5, s6, s7 = state
        uptake = k1 * s1 * s6 / (1 + (s6 / K1) ** q)
        triose, nadh = k2 * s2 * (N - s5), k6 * s2 * s5
        phosphorylation, ethanol, leak = k3 * s3 * (A - s6), k4 * s4 * s5, kappa * (s4 - s7)
        return np.array(
            [
                J0 - uptake,
                2 * uptake - triose - nadh,
                triose - phosphorylation,
                phosphorylation - ethanol - leak,
                triose - ethanol - nadh,
                -2 * uptake + 2 * phosphorylation - k5 * s6,
                psi * leak - k * s7,
            ]
        )

    return derivative
