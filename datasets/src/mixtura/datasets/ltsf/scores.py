"""Mean squared and mean absolute error in which every window counts once."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mixtura.core.errors import InputError

__all__ = ["ForecastScores", "Scores"]


class Scores(NamedTuple):
    """Errors over all windows that were seen, horizon steps and variates."""

    windows: int
    mse: float
    mae: float
    mse_per_variate: np.ndarray
    mae_per_variate: np.ndarray


class ForecastScores:
    """Adds up errors batch by batch in float64; the result does not depend on the batch size.

    Example:
        scores = ForecastScores()
        for past, future in batches:
            scores.update(forecast(past), future)
        print(scores.compute().mse)
    """

    def __init__(self) -> None:
        self.windows = 0
        self.steps = 0
        self.squared: np.ndarray | float = 0.0
        self.absolute: np.ndarray | float = 0.0

    def update(
        self,
        forecast: Float[np.ndarray, "windows horizon variates"],
        truth: Float[np.ndarray, "windows horizon variates"],
    ) -> None:
        """Add a batch of windows."""
        error = np.asarray(forecast, dtype=np.float64) - truth
        self.windows += error.shape[0]
        self.steps += error.shape[0] * error.shape[1]
        self.squared = self.squared + np.square(error).sum(axis=(0, 1))
        self.absolute = self.absolute + np.abs(error).sum(axis=(0, 1))

    def compute(self) -> Scores:
        """The scores of all windows so far.

        Raises:
            InputError: when there was none.
        """
        if not self.windows:
            raise InputError("no window was scored; the part of the data to score is empty")
        mse = np.asarray(self.squared) / self.steps
        mae = np.asarray(self.absolute) / self.steps
        return Scores(self.windows, float(mse.mean()), float(mae.mean()), mse, mae)
