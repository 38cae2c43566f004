"""Series made by a seeded generator: the default for who has no file at hand."""

import numpy as np

from mixtura.datasets.ltsf.series import SeriesTable

__all__ = ["seasonal_series"]

DAY, WEEK = 24, 168


def seasonal_series(rows: int = 8000, variates: int = 7, seed: int = 0) -> SeriesTable:
    """Hourly series with a day, a week, a slow trend and autoregressive noise.

    Each variate has its own level, amplitudes and phases; half of the noise is shared, so that the
    variates are correlated. The same arguments always give the same numbers.

    Args:
        rows: number of hours.
        variates: number of columns.
        seed: of the generator.
    """
    generator = np.random.default_rng(seed)
    time = np.arange(rows)[:, None]
    phase = generator.uniform(0, 2 * np.pi, (4, variates))
    amplitude = generator.uniform(0.5, 2.0, (4, variates))
    periods = (DAY, DAY / 2, WEEK, 4000)
    seasons = sum(
        amplitude[i] * np.sin(2 * np.pi * time / period + phase[i])
        for i, period in enumerate(periods)
    )
    shocks = generator.normal(0, 0.3, (rows, variates)) + generator.normal(0, 0.3, (rows, 1))
    noise = np.empty_like(shocks)
    state = np.zeros(variates)
    for row in range(rows):
        state = 0.9 * state + shocks[row]
        noise[row] = state
    values = generator.uniform(-5, 20, variates) + seasons + noise
    start = np.datetime64("2020-01-01T00", "h")
    return SeriesTable(
        name="synthetic-seasonal",
        values=values,
        channels=tuple(f"series{i}" for i in range(variates)),
        stamps=(start + np.arange(rows)).astype("datetime64[ns]"),
        frequency="h",
    )
