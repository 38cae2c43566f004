"""A CSV file with several series below each other, told apart by a column."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mixtura.core.errors import InputError
from mixtura.datasets.ltsf.reading import parse_table
from mixtura.datasets.ltsf.series import SeriesTable
from mixtura.datasets.own_table import (
    Missing,
    content_of,
    known_column,
    numeric,
    table_of,
    target_columns,
)

__all__ = ["about_item", "read_own_items"]


def read_own_items(
    path: str | Path,
    item_column: str,
    date_column: str | None = "date",
    target: str | Sequence[str] | None = None,
    covariates: Sequence[str] = (),
    known_covariates: Sequence[str] = (),
    static_covariates: Sequence[str] = (),
    frequency: str | None = None,
    missing: Missing = "raise",
) -> dict[str, SeriesTable]:
    """One table for each item of a CSV file (also `.csv.gz`), in the order of their first rows.

    The rows of an item are in order of time; items may begin, end and be of lengths as they are.
    Rows at an item's end in which every target is empty are its future rows.

    Args:
        path: of the file.
        item_column: column that names the item of every row.
        date_column: column of the timestamps; None for a file without dates.
        target: column or columns to forecast; None for every numeric column that is nothing else.
        covariates: columns that are known up to the present only.
        known_covariates: columns that are known in the future as well.
        static_covariates: columns of numbers that never change within an item.
        frequency: step as a pandas alias; seen from the dates of each item if None.
        missing: what to do with empty cells and steps without a row: refuse them, or fill them with
            the reading before.

    Raises:
        InputError: for what `read_own_table` refuses, in the file or in one item; a row without an
            item, items of different steps, or a static covariate that changes or is empty.
    """
    path = Path(path).expanduser()
    frame = parse_table(content_of(path), path.name, date_column)
    known_column(frame, item_column, path.name)
    if frame[item_column].isna().any():
        row = int(frame[item_column].isna().to_numpy().argmax())
        raise InputError(f"column {item_column!r} of {path.name} names no item in row {row}")
    targets = target_columns(
        frame,
        path.name,
        date_column,
        target,
        covariates,
        known_covariates,
        beside=(item_column, *static_covariates),
    )
    tables = {}
    for item, rows in frame.groupby(item_column, sort=False):
        with about_item(item_column, item):
            rows = rows.reset_index(drop=True)
            table = table_of(
                rows, path.name, date_column, targets, covariates, known_covariates, frequency,
                missing,
            )  # fmt: skip
            tables[str(item)] = replace(
                table,
                static_covariates=static_values(rows, static_covariates, path.name),
                static_covariate_names=tuple(static_covariates),
            )
    check_steps(tables, item_column)
    return tables


@contextmanager
def about_item(item_column: str | None, item: Any) -> Iterator[None]:
    """Errors inside begin with the item they are about; nothing changes without a column."""
    try:
        yield
    except InputError as error:
        if item_column is None:
            raise
        raise InputError(f"{item_column} {str(item)!r}: {error}") from error


def static_values(frame: pd.DataFrame, columns: Sequence[str], name: str) -> np.ndarray:
    values = []
    for column in columns:
        numbers = numeric(frame, column, name)
        found = np.unique(numbers[~np.isnan(numbers)])
        if len(found) != 1:
            state = "is empty" if len(found) == 0 else f"changes ({found[0]:g}, {found[1]:g}, ...)"
            raise InputError(
                f"the static covariate {column!r} {state}; give one number for each item, or take "
                "it as a covariate"
            )
        values.append(float(found[0]))
    return np.array(values)


def check_steps(tables: dict[str, SeriesTable], item_column: str) -> None:
    first, *others = tables.items()
    for item, table in others:
        if table.frequency != first[1].frequency:
            raise InputError(
                f"{item_column} {first[0]!r} has the step {first[1].frequency!r} and {item!r} has "
                f"{table.frequency!r}; one model takes one step, so resample them or give each "
                "step a file of its own"
            )
