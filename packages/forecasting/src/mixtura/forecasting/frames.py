"""Data frames in, arrays out, and back: pandas, or polars where it is installed."""

from collections.abc import Iterator, Sequence
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
    without_gaps,
)
from mixtura.datasets.ltsf.reading import parse_dates

__all__ = [
    "future_frame",
    "is_polars",
    "items_of",
    "series_of",
    "to_pandas",
    "to_polars",
    "with_rows",
]


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


def with_rows(frame: Any, future: Any, date_column: str | None) -> pd.DataFrame:
    """A frame with the rows of another below it: what is known of the future.

    Raises:
        InputError: when only one of them has the dates as its index.
    """
    above, below = to_pandas(frame), to_pandas(future)
    in_column = [date_column in table.columns for table in (above, below)]
    if in_column[0] != in_column[1]:
        raise InputError(
            f"the frame and its future need their dates in the same place; put both into a column "
            f"{date_column!r} or both into the index"
        )
    return pd.concat([above, below], ignore_index=in_column[0])


def items_of(
    frame: Any, future: Any, item_column: str, date_column: str | None
) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The series of a frame that holds several below each other, by name.

    Raises:
        InputError: when there is no such column, a cell of it is empty, or the future has an item
            that the frame has not.
    """
    tables = [to_pandas(each) for each in (frame, future) if each is not None]
    for table in tables:
        if item_column not in table.columns:
            near = get_close_matches(item_column, map(str, table.columns), n=3)
            raise InputError(
                f"the frame has no column {item_column!r} of items; did you mean "
                f"{', '.join(near or map(str, table.columns[:5]))}?"
            )
        if table[item_column].isna().any():
            raise InputError(f"column {item_column!r} does not name the item of every row")
    table = tables[0]
    items = list(dict.fromkeys(table[item_column]))
    after = tables[1] if len(tables) > 1 else table.iloc[:0]
    unseen = [item for item in dict.fromkeys(after[item_column]) if item not in items]
    if unseen:
        raise InputError(
            f"the future has rows of the item {unseen[0]!r}, of which the frame has no past; give "
            f"its past or leave it out (items: {', '.join(map(str, items[:5]))})"
        )
    for item in items:
        parts = [each[each[item_column] == item].drop(columns=item_column) for each in tables]
        yield item, parts[0] if len(parts) == 1 else with_rows(parts[0], parts[1], date_column)


def series_of(
    frame: Any,
    channels: Sequence[str] | None,
    *,
    date_column: str | None = "date",
    frequency: str | None = None,
    missing: Literal["raise", "fill", "keep"] = "raise",
    covariates: Sequence[str] = (),
    known_covariates: Sequence[str] = (),
) -> SeriesTable:
    """The numeric columns of a frame as a table of observations.

    Where there are known covariates, the last rows may carry nothing else: a row without any
    reading after the last one with a reading belongs to the future, and is not filled.

    Args:
        frame: rows in order of time; the dates in a column or in the index.
        channels: columns to take, in this order; every numeric column that is nothing else if None.
        date_column: column of the timestamps; the index where there is no such column.
        frequency: step as a pandas alias; seen from the dates if None.
        missing: refuse empty cells and steps without a row, fill them with the reading before, or
            keep them as NaN (covariates are then filled).
        covariates: columns that are known up to the present.
        known_covariates: columns that are known in the future as well.

    Raises:
        InputError: for a missing column, a cell that is no number, an empty cell, or timestamps
            that repeat, go back or are irregular.
    """
    table = to_pandas(frame)
    stamps = None
    if date_column is not None and date_column in table.columns:
        stamps = parse_dates(table[date_column].reset_index(drop=True), "the frame").to_numpy()
        table = table.drop(columns=date_column)
    elif isinstance(table.index, pd.DatetimeIndex):
        index = table.index if table.index.tz is None else table.index.tz_convert("UTC")
        stamps = index.tz_localize(None).to_numpy()
    if missing != "raise" and stamps is not None:
        table, stamps = without_gaps(table, stamps, frequency)
    if frequency is not None:
        frequency = normal_frequency(frequency)
    elif stamps is not None and len(stamps) > 1:
        frequency = infer_frequency(stamps)
    names = [str(name) for name in table.columns]
    table = table.set_axis(names, axis=1)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the frame has two columns {twice!r}; rename one")
    if channels is None:
        others = {*covariates, *known_covariates}
        channels = [
            name
            for name in names
            if pd.api.types.is_numeric_dtype(table[name]) and name not in others
        ]
    for name in (*channels, *covariates, *known_covariates):
        if name not in names:
            near = get_close_matches(name, names, n=3) or names[:5]
            raise InputError(
                f"the frame has no column {name!r}; did you mean {', '.join(near)}? "
                "Rename it, or give the columns the model was trained on"
            )
    if not channels:
        raise InputError("the frame has no numeric column to forecast; convert one to numbers")
    rows = len(table)
    if known_covariates or missing != "raise":
        seen = np.flatnonzero(table[list(channels)].notna().any(axis=1).to_numpy())
        rows = int(seen[-1]) + 1 if len(seen) else rows
    filling = "raise" if missing == "raise" else "fill"
    return SeriesTable(
        name="the frame",
        values=_numbers(table[list(channels)][:rows], missing),
        channels=tuple(channels),
        stamps=None if stamps is None else stamps[:rows],
        frequency=frequency,
        past_covariates=_numbers(table[list(covariates)][:rows], filling),
        known_covariates=_numbers(table[list(known_covariates)], filling),
        past_covariate_names=tuple(covariates),
        known_covariate_names=tuple(known_covariates),
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
