"""The rows after the last observation."""

from dataclasses import replace

import numpy as np

from mixtura.core.errors import InputError
from mixtura.datasets.frequency import future_stamps
from mixtura.datasets.ltsf.series import SeriesTable

__all__ = ["with_future"]


def with_future(table: SeriesTable, horizon: int) -> SeriesTable:
    """The table with `horizon` more rows: their dates, their known covariates, and NaN values.

    Raises:
        InputError: when known covariates are not there for all of them.
    """
    rows = table.rows + horizon
    known = table.known_covariates
    if known.shape[1] and len(known) < rows:
        raise InputError(
            f"a forecast of {horizon} steps needs {', '.join(table.known_covariate_names)} for the "
            f"{horizon} rows after the last observation, found {len(known) - table.rows}; add rows "
            "with their dates and leave the target columns empty"
        )
    stamps = table.stamps
    if stamps is not None and table.frequency is not None:
        ahead = future_stamps(stamps[-1], table.frequency, horizon)
        stamps = np.concatenate([stamps, ahead.astype(stamps.dtype)])

    def continued(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.full((horizon, values.shape[1]), np.nan)])

    return replace(
        table,
        values=continued(table.values),
        stamps=stamps,
        past_covariates=continued(table.past_covariates),
        known_covariates=known[:rows] if known.shape[1] else np.zeros((rows, 0)),
    )
