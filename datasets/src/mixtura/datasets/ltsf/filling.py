"""Rows and cells without a reading, filled from the past."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped

from mixtura.core.errors import InputError
from mixtura.datasets.frequency import infer_frequency, normal_frequency

__all__ = ["clean_sentinels", "fill_from_past", "without_gaps"]

MOST_ROWS = 10
"""Times the rows that there are; a frame with larger gaps is no series of one step."""


def fill_from_past(
    values: Float[np.ndarray, "rows variates"], missing: Bool[np.ndarray, "rows variates"]
) -> Float[np.ndarray, "rows variates"]:
    """A copy in which each missing cell is the last proper reading of its column before it.

    Cells before the first proper reading take that one; a column without any is left as it is.
    """
    last = np.where(missing, -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(last, axis=0)
    last = np.where(last < 0, (~missing).argmax(axis=0), last)
    return np.take_along_axis(values, last, axis=0)


def clean_sentinels(
    values: Float[np.ndarray, "rows variates"], sentinel: float = -9999.0
) -> Float[np.ndarray, "rows variates"]:
    """A copy in which each reading of `sentinel`, which stands for none, is filled from the past.

    The Jena weather file has 81 of them, all in its training rows; the papers keep them, which
    makes two of its variates count for little in scaled scores.
    """
    return fill_from_past(values, values == sentinel)


def without_gaps(
    frame: pd.DataFrame, stamps: Shaped[np.ndarray, " rows"], frequency: str | None
) -> tuple[pd.DataFrame, Shaped[np.ndarray, " all_rows"]]:
    """The frame and its stamps with an empty row for each step that has none.

    Where the stamps are regular, or lie on no grid of one step, both come back as they are.

    Args:
        frame: rows in order of time.
        stamps: of the rows.
        frequency: step as a pandas alias; the usual one between the stamps if None.
    """
    index = pd.DatetimeIndex(stamps)
    steps = np.diff(index.to_numpy())
    if len(index) < 3 or (steps <= np.timedelta64(0)).any():
        return frame, stamps
    if frequency is None:
        try:
            infer_frequency(stamps)
        except InputError:
            kinds, counts = np.unique(steps, return_counts=True)
            step = pd.tseries.frequencies.to_offset(pd.Timedelta(kinds[counts.argmax()]))
        else:
            return frame, stamps
    else:
        step = pd.tseries.frequencies.to_offset(normal_frequency(frequency))
    few = index[0] + MOST_ROWS * len(index) * step >= index[-1]
    grid = pd.date_range(index[0], index[-1], freq=step) if few else index
    if len(grid) == len(index) or not index.isin(grid).all():
        return frame, stamps
    return frame.set_axis(index, axis=0).reindex(grid).reset_index(drop=True), grid.to_numpy()
