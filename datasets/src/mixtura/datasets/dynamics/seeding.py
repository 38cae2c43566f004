"""Initial states of the published sets: trajectory j has its own legacy NumPy seed."""

from collections.abc import Iterable

import numpy as np

__all__ = ["TEST_SEEDS", "TRAIN_SEEDS", "uniform_states"]

TRAIN_SEEDS = range(2**31 - 1)
TEST_SEEDS = range(2**31 - 1, -1, -1)


def uniform_states(seeds: Iterable[int], dim: int) -> np.ndarray:
    """One state (dim) uniform in [0, 1) per seed, stacked (seeds, dim)."""
    return np.stack([np.random.RandomState(seed).random_sample(dim) for seed in seeds])
