"""Data frames in, arrays out, and back: pandas, or polars where it is installed."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from mixtura.core.errors import InputError
from mixtura.datasets import (
    SeriesTable,
    fill_from_past,
    future_stamps,
    infer_frequency,
    normal_frequency,
)

__all__ = ["future_frame", "is_polars", "series_of", "to_pandas", "to_polars"]


def to_pandas(frame: Any) -> pd.DataFrame:
    """The frame as a pandas frame.

    Raises:
        InputError: when it is neither a pandas nor a polars frame.
    """
    if isinstance(frame, pd.DataFrame):
        return frame
    if isinstance(frame, pd.Series):
        return frame.to_frame()
    if is_polars(frame) and hasattr(frame, "to_dict"):
        return pd.DataFrame({name: column.to_numpy() for name, column in frame.to_dict().items()})
    if hasattr(frame, "to_pandas"):
        return frame.to_pandas()
    raise InputError(f"expected a pandas or polars data frame, got {type(frame).__name__}")


def is_polars(frame: Any) -> bool:
    """Whether the frame is one of polars, which need not be installed."""
    return type(frame).__module__.partition(".")[0] == "polars"


def to_polars(frame: pd.DataFrame, date_column: str | None) -> Any:
    """The frame in polars, its index as the first column."""
    import polars

    name = date_column or frame.index.name
    columns = {str(name): frame.index.to_numpy()}
    columns |= {str(column): frame[column].to_numpy() for column in frame.columns}
    return polars.DataFrame(columns)


def series_of(
    frame: Any,
    channels: Sequence[str] | None,
    *,
    date_column: str | None = "date",
    frequency: str | None = None,
    missing: Literal["raise", "fill", "keep"] = "raise",
) -> SeriesTable:
    """The numeric columns of a frame as a table of observations.

    Args:
        frame: rows in order of time; the dates in a column or in the index.
        channels: columns to take, in this order; every numeric column if None.
        date_column: column of the timestamps; the index where there is no such column.
        frequency: step as a pandas alias; seen from the dates if None.
        missing: refuse empty cells, fill them with the reading before, or keep them as NaN.

    Raises:
        InputError: for a missing column, a cell that is no number, an empty cell, or timestamps
            that repeat, go back or are irregular.
    """
    table = to_pandas(frame)
    stamps = None
    if date_column is not None and date_column in table.columns:
        stamps = pd.to_datetime(table[date_column]).to_numpy()
        table = table.drop(columns=date_column)
    elif isinstance(table.index, pd.DatetimeIndex):
        stamps = table.index.to_numpy()
    if frequency is not None:
        frequency = normal_frequency(frequency)
    elif stamps is not None and len(stamps) > 1:
        frequency = infer_frequency(stamps)
    names = [str(name) for name in table.columns]
    table = table.set_axis(names, axis=1)
    if channels is None:
        channels = [name for name in names if pd.api.types.is_numeric_dtype(table[name])]
    for name in channels:
        if name not in names:
            near = get_close_matches(name, names, n=3) or names[:5]
            raise InputError(
                f"the frame has no column {name!r}; did you mean {', '.join(near)}? "
                "Rename it, or give the columns the model was trained on"
            )
    if not channels:
        raise InputError("the frame has no numeric column to forecast; convert one to numbers")
    return SeriesTable(
        name="the frame",
        values=_numbers(table[list(channels)], missing),
        channels=tuple(channels),
        stamps=stamps,
        frequency=frequency,
    )


def _numbers(
    table: pd.DataFrame, missing: Literal["raise", "fill", "keep"]
) -> Float[np.ndarray, "rows variates"]:
    try:
        values = table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise InputError(f"the frame holds cells that are no numbers: {error}") from error
    empty = ~np.isfinite(values)
    if empty.all(axis=0).any():
        column = table.columns[int(empty.all(axis=0).argmax())]
        raise InputError(f"column {column!r} holds no number at all; leave it out")
    if not empty.any():
        return values
    row, column = np.argwhere(empty)[0]
    if missing == "raise":
        raise InputError(
            f"column {table.columns[column]!r} is empty or infinite in row {row}; fill it, or set "
            "missing to 'fill' to repeat the reading before"
        )
    return np.where(empty, np.nan, values) if missing == "keep" else fill_from_past(values, empty)


def future_frame(
    table: SeriesTable, forecast: Float[np.ndarray, "horizon variates"]
) -> pd.DataFrame:
    """The forecast with the stamps that follow the table; numbered rows where it has no dates."""
    if table.stamps is None or table.frequency is None:
        index: pd.Index = pd.RangeIndex(table.rows, table.rows + len(forecast), name="row")
    else:
        stamps = future_stamps(table.stamps[-1], table.frequency, len(forecast))
        index = pd.DatetimeIndex(stamps, name="date")
    return pd.DataFrame(forecast, index=index, columns=list(table.channels))
