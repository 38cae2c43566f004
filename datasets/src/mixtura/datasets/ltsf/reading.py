"""CSV bytes to a frame: line ends of any kind, odd header bytes, numbers to the last digit."""

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
    """Timestamps from text such as `2016-07-01 00:00:00` or `1990/1/1 0:00`.

    Raises:
        InputError: naming the first cell that is no date.
    """
    try:
        return pd.to_datetime(column)
    except (ValueError, TypeError):
        parsed = pd.to_datetime(column, errors="coerce", format="mixed")
    if parsed.isna().any():
        row = int(parsed.isna().to_numpy().argmax())
        raise InputError(
            f"column {column.name!r} of {name} should hold dates, but row {row} holds "
            f"{column.iloc[row]!r}; write dates as 2016-07-01 00:00:00"
        )
    return parsed
