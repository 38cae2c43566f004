"""Subjects with noisy Lorenz dynamics: a reconstruction of a data set that cannot be obtained."""

import numpy as np

from mixtura.datasets.dynamics.environments import DynamicsData, Environments
from mixtura.datasets.dynamics.integration import Precision, solve

__all__ = ["noisy_lorenz"]


def noisy_lorenz(
    num_lorenz63: int = 64,
    num_lorenz96: int = 20,
    dim: int = 10,
    num_times: int = 1000,
    dt: float = 0.02,
    noise: float = 0.05,
    seed: int = 0,
) -> DynamicsData:
    """Lorenz-63 and Lorenz-96 subjects, each observed in `dim` dimensions with noise.

    After Brenner et al., Learning Interpretable Hierarchical Dynamical Systems Models from Time
    Series Data, 2024, arXiv 2410.04814. The published array is not available; sizes follow the
    paper, the numbers are this generator's own. rho of Lorenz-63 varies in [26, 45], the forcing of
    Lorenz-96 (ten variables) in [8, 12]. Lorenz-63 is lifted by a random matrix.

    Args:
        num_lorenz63: subjects of the first family.
        num_lorenz96: subjects of the second family.
        dim: observed dimensions.
        num_times: samples per subject.
        dt: time between samples.
        noise: standard deviation relative to that of the signal.
        seed: of parameters, lift and noise.
    """
    random = np.random.default_rng(seed)
    t = dt * np.arange(num_times + 500)
    lift = random.standard_normal((3, dim)) / np.sqrt(3)
    series, parameters = [], []
    for rho in random.uniform(26, 45, num_lorenz63):
        x = solve(lorenz63(rho), random.standard_normal(3), t, precision=Precision(rtol=1e-6))
        series.append(x[500:] @ lift)
        parameters.append(rho)
    for forcing in random.uniform(8, 12, num_lorenz96):
        start = forcing + random.standard_normal(dim)
        x = solve(lorenz96(forcing), start, t, precision=Precision(rtol=1e-6))
        series.append(x[500:])
        parameters.append(forcing)
    x = np.stack(series)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    x = x + noise * random.standard_normal(x.shape)
    family = np.repeat([0, 1], [num_lorenz63, num_lorenz96])
    train = Environments(
        x[:, None].astype(np.float32), t[500:] - t[500], family, np.array(parameters)[:, None]
    )
    return DynamicsData(
        "noisy_lorenz",
        train=train,
        notes="a reconstruction: the published array is not available",
    )


def lorenz63(rho: float):
    """The vector field for one subject."""

    def derivative(_: float, x: np.ndarray) -> np.ndarray:
        return np.array(
            [10 * (x[1] - x[0]), x[0] * (rho - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]]
        )

    return derivative


def lorenz96(forcing: float):
    """The vector field for one subject."""

    def derivative(_: float, x: np.ndarray) -> np.ndarray:
        return (np.roll(x, -1) - np.roll(x, 2)) * np.roll(x, 1) - x + forcing

    return derivative
