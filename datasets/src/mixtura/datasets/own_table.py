"""A CSV file of the user's own, checked cell by cell before anything is trained on it."""

import gzip
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mixtura.core.errors import InputError
from mixtura.datasets.frequency import infer_frequency, normal_frequency
from mixtura.datasets.ltsf.filling import fill_from_past, without_gaps
from mixtura.datasets.ltsf.reading import parse_table
from mixtura.datasets.ltsf.series import SeriesTable

__all__ = ["read_own_table"]

Missing = Literal["raise", "fill"]


def read_own_table(
    path: str | Path,
    date_column: str | None = "date",
    target: str | Sequence[str] | None = None,
    covariates: Sequence[str] = (),
    known_covariates: Sequence[str] = (),
    frequency: str | None = None,
    missing: Missing = "raise",
) -> SeriesTable:
    """Read a CSV file (also `.csv.gz`) with one header line, one row per step.

    Rows at the end in which every target is empty are future rows: they carry known covariates,
    and are not filled.

    Args:
        path: of the file.
        date_column: column of the timestamps; None for a file without dates.
        target: column or columns to forecast; None for every numeric column that is nothing else.
        covariates: columns that are known up to the present only.
        known_covariates: columns that are known in the future as well.
        frequency: step as a pandas alias (`h`, `15min`, `D`); seen from the dates if None. Given,
            the rows are taken as they are, gaps included, unless these are filled.
        missing: what to do with empty cells and steps without a row: refuse them, or fill them with
            the reading before.

    Raises:
        InputError: for a missing file, an unknown column, cells that are no numbers, empty cells,
            an empty column, or timestamps that repeat, go back or are irregular.
    """
    path = Path(path).expanduser()
    frame = parse_table(content_of(path), path.name, date_column)
    targets = target_columns(frame, path.name, date_column, target, covariates, known_covariates)
    return table_of(
        frame, path.name, date_column, targets, covariates, known_covariates, frequency, missing
    )


def table_of(
    frame: pd.DataFrame,
    name: str,
    date_column: str | None,
    targets: Sequence[str],
    covariates: Sequence[str],
    known_covariates: Sequence[str],
    frequency: str | None,
    missing: Missing,
) -> SeriesTable:
    if missing == "fill" and date_column is not None:
        frame, dates = without_gaps(frame, frame[date_column].to_numpy(), frequency)
        frame = frame.assign(**{date_column: dates})
    chosen = [*targets, *covariates, *known_covariates]
    numbers = {column: numeric(frame, column, name) for column in chosen}
    ahead = bool(known_covariates) or missing == "fill"
    observed = observed_rows(numbers, targets) if ahead else len(frame)
    stamps, step = None, None
    if date_column is not None:
        stamps = frame[date_column].to_numpy()[:observed]
        step = normal_frequency(frequency) if frequency else infer_frequency(stamps)
    elif frequency:
        raise InputError(
            f"a frequency ({frequency!r}) was given for {name}, but no date column; name it "
            "with date_column"
        )

    def block(columns: Sequence[str], rows: int) -> np.ndarray:
        if not columns:
            return np.zeros((rows, 0))
        values = np.stack([numbers[column][:rows] for column in columns], axis=1)
        return complete(values, columns, name, missing)

    return SeriesTable(
        name=name.split(".")[0],
        values=block(targets, observed),
        channels=tuple(targets),
        stamps=stamps,
        frequency=step,
        past_covariates=block(covariates, observed),
        known_covariates=block(known_covariates, len(frame)),
        past_covariate_names=tuple(covariates),
        known_covariate_names=tuple(known_covariates),
    )


def content_of(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError as error:
        beside = sorted(p.name for p in path.parent.glob("*.csv*"))[:5]
        hint = f"; {path.parent} has {', '.join(beside)}" if beside else ""
        raise InputError(f"there is no file {path}{hint}; correct the path") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a CSV file") from error


def target_columns(
    frame: pd.DataFrame,
    name: str,
    date_column: str | None,
    target: str | Sequence[str] | None,
    covariates: Sequence[str],
    known_covariates: Sequence[str],
    beside: Sequence[str] = (),
) -> list[str]:
    others = {date_column, *covariates, *known_covariates, *beside}
    if target is None:
        numeric_columns = frame.select_dtypes("number").columns
        targets = [str(column) for column in numeric_columns if column not in others]
    else:
        targets = [target] if isinstance(target, str) else list(target)
    if not targets:
        raise InputError(f"{name} has no numeric column to forecast; name one with target")
    asked = [*targets, *covariates, *known_covariates, *beside]
    for column in asked:
        known_column(frame, column, name)
        if asked.count(column) > 1 or column == date_column:
            raise InputError(
                f"column {column!r} of {name} is asked for twice; a column is the date, a target, "
                "a covariate or a known covariate"
            )
    return targets


def known_column(frame: pd.DataFrame, column: str, name: str) -> None:
    if column not in frame.columns:
        near = get_close_matches(column, map(str, frame.columns), n=3, cutoff=0.4)
        raise InputError(
            f"{name} has no column {column!r}; "
            + (f"did you mean {', '.join(near)}? " if near else "")
            + f"Its columns are {', '.join(map(str, frame.columns[:20]))}"
        )


def numeric(frame: pd.DataFrame, column: str, name: str) -> np.ndarray:
    values = frame[column]
    numbers = pd.to_numeric(values, errors="coerce")
    wrong = (numbers.isna() & values.notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"column {column!r} of {name} should hold numbers, but row {row} holds "
            f"{values.iloc[row]!r}; correct it or leave the column out"
        )
    result = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(result).any():
        row = int(np.isinf(result).argmax())
        raise InputError(
            f"column {column!r} of {name} holds an infinite number in row {row}; correct it"
        )
    return result


def observed_rows(numbers: dict[str, np.ndarray], targets: Sequence[str]) -> int:
    """Rows up to the last one in which a target has a value."""
    seen = np.any([~np.isnan(numbers[column]) for column in targets], axis=0)
    return int(np.flatnonzero(seen)[-1]) + 1 if seen.any() else len(seen)


def complete(values: np.ndarray, columns: Sequence[str], name: str, missing: Missing) -> np.ndarray:
    empty = np.isnan(values)
    if not empty.any():
        return values
    if empty.all(axis=0).any():
        column = columns[int(empty.all(axis=0).argmax())]
        raise InputError(f"column {column!r} of {name} has no value at all; leave it out")
    if missing == "raise":
        row, position = (int(i) for i in np.argwhere(empty)[0])
        raise InputError(
            f"{name} has {int(empty.sum())} empty cells, the first in row {row}, column "
            f"{columns[position]!r}; fill them, or set missing to 'fill' to repeat the reading "
            "before"
        )
    return fill_from_past(values, empty)
