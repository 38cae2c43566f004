"""CSV bytes to a frame: line ends of any kind, odd header bytes, numbers to the last digit."""

import warnings
from io import BytesIO

import pandas as pd

from mixtura.core.errors import InputError

__all__ = ["parse_dates", "parse_table"]


def parse_table(content: bytes, name: str, date_column: str | None = "date") -> pd.DataFrame:
    """The frame of a CSV file, its date column parsed; undecodable bytes become U+FFFD.

    Args:
        content: the bytes of the file.
        name: what errors call the file.
        date_column: None for a file without dates.

    Raises:
        InputError: when the bytes are no CSV table, or the date column is missing or holds none.
    """
    try:
        frame = pd.read_csv(BytesIO(content), encoding_errors="replace")
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{name} is no CSV table with one header line: {str(error).strip()}"
        ) from error
    if not isinstance(frame.index, pd.RangeIndex):
        raise InputError(
            f"{name} is no CSV table with one header line: its rows have more cells than its "
            f"header, which names {len(frame.columns)}"
        )
    if date_column is None:
        return frame
    if date_column not in frame.columns:
        raise InputError(
            f"{name} has no date column {date_column!r}, its columns are "
            f"{', '.join(map(str, frame.columns[:20]))}; name the right one, or none for a file "
            "without dates"
        )
    frame[date_column] = parse_dates(frame[date_column], name)
    return frame


def parse_dates(column: pd.Series, name: str) -> pd.Series:
    """Timestamps from text such as `2016-07-01 00:00:00` or `1990/1/1 0:00`, or from 20160701.

    Dates with a time zone are given in UTC.

    Raises:
        InputError: naming the first cell that is no date.
    """
    text = column
    if pd.api.types.is_numeric_dtype(column):
        text = column.astype(str)
        lengths = set(text.str.len())
        if lengths not in ({4}, {8}):
            raise no_date(column, name, 0)
        text = pd.to_datetime(text, errors="coerce", format="%Y" if lengths == {4} else "%Y%m%d")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            parsed = pd.to_datetime(text, utc=True)
    except (ValueError, TypeError, UserWarning):
        parsed = pd.to_datetime(text, utc=True, errors="coerce", format="mixed")
    if parsed.isna().any():
        raise no_date(column, name, int(parsed.isna().to_numpy().argmax()))
    return parsed.dt.tz_localize(None)


def no_date(column: pd.Series, name: str, row: int) -> InputError:
    return InputError(
        f"column {column.name!r} of {name} should hold dates, but row {row} holds "
        f"{column.iloc[row]!r}; write dates as 2016-07-01 00:00:00"
    )
