"""Standardisation per variate, from the training rows only."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["StandardScaler"]


@dataclass(frozen=True, eq=False)
class StandardScaler:
    """Subtracts the mean and divides by the population standard deviation (ddof 0), in float64.

    The scale of a constant variate counts as 1.
    """

    mean: Float[np.ndarray, " variates"]
    scale: Float[np.ndarray, " variates"]

    @classmethod
    def fit(cls, rows: Float[np.ndarray, "rows variates"]) -> "StandardScaler":
        """The scaler of the given rows; NaN cells are left out."""
        rows = np.asarray(rows, dtype=np.float64)
        deviation = np.nanstd(rows, axis=0)
        constant = (np.nanmax(rows, axis=0) == np.nanmin(rows, axis=0)) | (deviation == 0)
        return cls(np.nanmean(rows, axis=0), np.where(constant, 1.0, deviation))

    @classmethod
    def identity(cls, variates: int) -> "StandardScaler":
        """The scaler that changes nothing."""
        return cls(np.zeros(variates), np.ones(variates))

    def transform(self, values: Float[np.ndarray, "*rows variates"]) -> np.ndarray:
        """Scaled values, float64."""
        return (values - self.mean) / self.scale

    def inverse(self, values: Float[np.ndarray, "*rows variates"]) -> np.ndarray:
        """Values in the units of the file."""
        return values * self.scale + self.mean
