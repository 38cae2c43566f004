"""ODEBench's two-dimensional families: several families in one data set."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy import cos, sin, tan

from mixtura.datasets.dynamics.environments import DynamicsData, Environments
from mixtura.datasets.dynamics.integration import Precision, solve

__all__ = ["FAMILIES", "Family", "odebench", "odebench4", "odebench10"]

SEED = 2024
MARGIN = 1e-3


@dataclass(frozen=True)
class Family:
    """One parametric ODE of ODEBench.

    Args:
        name: what it is called.
        derivative: (x, y, parameters) to the two derivatives.
        parameters: reference values.
        starts: the two reference initial states.
        horizon: end of the time grid.
    """

    name: str
    derivative: Callable[[float, float, np.ndarray], tuple[float, float]]
    parameters: tuple[float, ...]
    starts: tuple[tuple[float, float], tuple[float, float]]
    horizon: float


FAMILIES: dict[int, Family] = {
    24: Family(
        "harmonic_oscillator",
        lambda x, y, c: (y, -c[0] * x),
        (2.1,),
        ((0.4, -0.03), (0.0, 0.2)),
        10,
    ),
    25: Family(
        "damped_oscillator",
        lambda x, y, c: (y, -c[0] * x - c[1] * y),
        (4.5, 0.43),
        ((0.12, 0.043), (0.0, -0.3)),
        8,
    ),
    28: Family(
        "pendulum",
        lambda x, y, c: (y, -c[0] * sin(x)),
        (0.9,),
        ((-1.9, 0.0), (0.3, 0.8)),
        15,
    ),
    32: Family(
        "double_well",
        lambda x, y, c: (y, -c[0] * y - x**3 + x),
        (0.18,),
        ((-1.8, -1.8), (-2.8, 1.0)),
        5,
    ),
    34: Family(
        "bead_rotating_hoop",
        lambda x, y, c: (y, (-c[0] + cos(x)) * sin(x)),
        (0.93,),
        ((2.1, 0.0), (-1.2, -0.2)),
        20,
    ),
    35: Family(
        "shear_flow",
        lambda x, y, c: (cos(x) / tan(y), sin(x) * (c[0] * sin(y) ** 2 + cos(y) ** 2)),
        (4.2,),
        ((1.13, -0.3), (0.7, -1.7)),
        5,
    ),
    37: Family(
        "van_der_pol",
        lambda x, y, c: (y, -c[0] * y * (x**2 - 1) - x),
        (0.43,),
        ((2.2, 0.0), (0.1, 3.2)),
        15,
    ),
    38: Family(
        "van_der_pol_simplified",
        lambda x, y, c: (c[0] * (-(x**3) / 3 + x + y), -x / c[0]),
        (3.37,),
        ((0.7, 0.0), (-1.1, -0.7)),
        15,
    ),
    39: Family(
        "glycolytic_2d",
        lambda x, y, c: (c[0] * y + x**2 * y - x, -c[0] * x + c[1] - x**2 * y),
        (2.4, 0.07),
        ((0.4, 0.31), (0.2, -0.7)),
        4,
    ),
    40: Family(
        "duffing",
        lambda x, y, c: (y, c[0] * y * (1 - x**2) - x),
        (0.886,),
        ((0.63, -0.03), (0.2, 0.2)),
        10,
    ),
}


def odebench10(precision: Precision | None = None) -> DynamicsData:
    """Ten families, 16 environments and 4 new ones each; 4, 32, 1, 32 trajectories."""
    return odebench(
        list(FAMILIES.values()),
        name="odebench10",
        num_environments=16,
        spread=(0.9, 1.1),
        new_factors=np.linspace(0.8, 1.2, 4),
        precision=precision,
    )


def odebench4(precision: Precision | None = None) -> DynamicsData:
    """Four families with 5 environments each, and one more environment each to adapt to.

    The new environment has the parameters of the first known one, so that only its initial states
    are new.
    """
    settings = {
        24: ((2.1,), ((0.5, 0.5), (0.75, 0.75)), 6.0),
        35: ((2.0,), ((0.3, -0.3), (0.5, -0.5)), 6.0),
        32: ((0.1,), ((-0.5, -0.5), (-0.7, -0.7)), 8.0),
        40: ((0.886,), ((0.4, 0.0), (0.3, 0.1)), 8.0),
    }
    families = [
        replace(FAMILIES[key], parameters=parameters, starts=starts, horizon=horizon)
        for key, (parameters, starts, horizon) in settings.items()
    ]
    return odebench(
        families,
        name="odebench4",
        num_environments=5,
        spread=(0.8, 1.2),
        new_factors=np.array([0.8]),
        precision=precision,
    )


def odebench(
    families: list[Family],
    name: str,
    num_environments: int,
    spread: tuple[float, float],
    new_factors: np.ndarray,
    num_times: int = 100,
    precision: Precision | None = None,
) -> DynamicsData:
    """The four splits for any list of families.

    One random generator per split, always with the same seed, draws the initial states: test
    trajectories 0 and 31 therefore repeat training trajectories 0 and 3, and test trajectory 0 of
    a new environment is the one to adapt on (`leak_free` leaves them out).

    References:
        d'Ascoli et al., ODEFormer, 2023, arXiv 2310.05573 (the systems); Nzoyem et al., MixER,
        2025, arXiv 2502.05335 (the environments).
    """

    def split(count: int, new: bool) -> Environments:
        random = np.random.RandomState(SEED)
        x, t, family, values = [], [], [], []
        width = max(len(f.parameters) for f in families)
        for index, member in enumerate(families):
            reference = np.array(member.parameters)
            if new:
                grid = (new_factors[:, None] * reference).round(2)
            else:
                grid = parameter_grid(reference, num_environments, spread)
            times = np.arange(0, member.horizon, member.horizon / num_times)
            starts = initial_states(random, member.starts, count)
            for parameters in grid:
                field = vector_field(member, parameters)
                span = (0.0, float(member.horizon))
                x.append([solve(field, x0, times, span, precision) for x0 in starts])
                t.append(times)
                family.append(index)
                values.append(np.pad(parameters, (0, width - len(parameters)), constant_values=0))
        return Environments(
            np.array(x, dtype=np.float32), np.array(t), np.array(family), np.array(values)
        )

    return DynamicsData(
        name,
        train=split(4, new=False),
        test=split(32, new=False),
        ood_train=split(1, new=True),
        ood_test=split(32, new=True),
        leak_free=slice(3, 31),
        leak_free_ood=slice(1, 32),
        notes="test trajectories 0 and 31 repeat training trajectories 0 and 3",
        extra={str(index): member.name for index, member in enumerate(families)},
    )


def parameter_grid(reference: np.ndarray, count: int, spread: tuple[float, float]) -> np.ndarray:
    """The first `count` nodes (count, parameters) of a grid around `reference`, rounded."""
    side = int(np.ceil(count ** (1 / len(reference))))
    axes = [np.linspace(spread[0] * p, spread[1] * p, side).round(2) for p in reference]
    return np.stack([m.T.ravel() for m in np.meshgrid(*axes)], axis=1)[:count]


def initial_states(
    random: np.random.RandomState, starts: tuple[tuple[float, float], ...], count: int
) -> np.ndarray:
    """The first reference state, random ones between the two, and the second: (count, 2)."""
    first, last = np.array(starts[0]), np.array(starts[1])
    low, high = np.minimum(first, last) + MARGIN, np.maximum(first, last) - MARGIN
    between = random.uniform(low, high, size=(max(count - 2, 0), 2))
    return np.concatenate([first[None], between, last[None]])[:count]


def vector_field(family: Family, parameters: np.ndarray):
    """The vector field for one environment."""

    def derivative(_: float, state: np.ndarray) -> np.ndarray:
        return np.array(family.derivative(state[0], state[1], parameters))

    return derivative
