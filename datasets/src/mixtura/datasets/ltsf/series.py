"""A table of regularly spaced observations: what every reader of series gives."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Shaped

__all__ = ["SeriesTable"]


def no_columns() -> np.ndarray:
    return np.zeros((0, 0))


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesTable:
    """Observations in rows, variates in columns, float64, in the order of the file.

    Covariates may be absent: then their arrays have no columns.
    """

    name: str
    values: Float[np.ndarray, "rows variates"]
    """The variates to forecast."""
    channels: tuple[str, ...]
    """Their names."""
    stamps: Shaped[np.ndarray, " rows"] | None = None
    """datetime64 of each row; None for a table without dates."""
    frequency: str | None = None
    """Step between rows as a pandas alias (`h`, `15min`, `D`); None without dates."""
    past_covariates: np.ndarray = field(default_factory=no_columns)
    """(rows, past covariates): columns that are known up to the present only."""
    known_covariates: np.ndarray = field(default_factory=no_columns)
    """(rows + future rows, known covariates): columns that are known in the future as well."""
    past_covariate_names: tuple[str, ...] = ()
    known_covariate_names: tuple[str, ...] = ()
    static_covariates: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(static covariates,): numbers of the whole series."""
    static_covariate_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = len(self.values)
        for name in ("past_covariates", "known_covariates"):
            if getattr(self, name).shape == (0, 0):
                object.__setattr__(self, name, np.zeros((rows, 0)))

    @property
    def rows(self) -> int:
        """Number of observed rows."""
        return len(self.values)

    def with_values(self, values: Float[np.ndarray, "rows variates"]) -> "SeriesTable":
        """The same table with other values."""
        return replace(self, values=values)
