"""Windows by number, a whole batch in one gather."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mixtura.core.errors import InputError
from mixtura.datasets.loading.batch import WindowBatch
from mixtura.datasets.ltsf.calendar import calendar_features
from mixtura.datasets.ltsf.scaler import StandardScaler
from mixtura.datasets.ltsf.series import SeriesTable
from mixtura.datasets.ltsf.splits import Rows
from mixtura.datasets.ltsf.windows import check_window, window_count

__all__ = ["WindowSource"]


class WindowSource(Dataset[WindowBatch]):
    """The windows of one part of a table, held as float32 tensors.

    An item is a batch: `source[numbers]` gathers all windows at once through a strided view, which
    costs one copy of what is asked for and nothing else.

    Args:
        table: the whole series.
        rows: the part of it.
        look_back: rows of the past.
        horizon: rows of the future.
        scaler: of the variates.
        covariate_scaler: of past, known and static covariates, in this order.
        stride: rows between the beginnings of two windows.
        windows: upper limit of the number of windows; all if None.
        part: what errors call it.

    Raises:
        InputError: when no window fits.
    """

    def __init__(
        self,
        table: SeriesTable,
        rows: Rows,
        look_back: int,
        horizon: int,
        scaler: StandardScaler,
        covariate_scaler: StandardScaler,
        stride: int = 1,
        windows: int | None = None,
        part: str = "train",
    ) -> None:
        check_window(look_back, horizon)
        if stride < 1:
            raise InputError(f"stride must be at least 1 row, got {stride}")
        self.look_back, self.length, self.stride = look_back, look_back + horizon, stride
        self.start = rows.start
        fitting = -(-window_count(rows.count, look_back, horizon) // stride)
        self.windows = fitting if windows is None else min(fitting, windows)
        if self.windows < 1:
            raise InputError(
                f"the {part} part of {table.name} has {rows.count} rows, too few for one window of "
                f"look_back {look_back} + horizon {horizon} = {self.length} rows; shorten them or "
                "give more data"
            )
        here = slice(*rows)
        static = np.broadcast_to(
            table.static_covariates, (rows.count, len(table.static_covariates))
        )
        known = np.concatenate([table.known_covariates[here], static], axis=1)
        both = np.concatenate([table.past_covariates[here], known], axis=1)
        self.known = known.shape[1]
        marks = np.zeros((rows.count, 0))
        if table.stamps is not None and table.frequency is not None:
            marks = calendar_features(table.stamps[here], table.frequency)
        self.values = as_float32(scaler.transform(table.values[here]))
        self.marks = as_float32(marks)
        self.covariates = as_float32(covariate_scaler.transform(both))

    def __len__(self) -> int:
        return self.windows

    def __getitem__(self, numbers: Int[Tensor, " batch"]) -> WindowBatch:
        first = numbers * self.stride
        values = gather(self.values, first, self.length)
        marks = gather(self.marks, first, self.length)
        covariates = gather(self.covariates, first, self.length)
        now = self.look_back
        return WindowBatch(
            past=values[:, :now],
            future=values[:, now:],
            past_marks=marks[:, :now],
            future_marks=marks[:, now:],
            past_covariates=covariates[:, :now],
            future_covariates=covariates[:, now:, covariates.shape[2] - self.known :],
            index=first + self.start,
        )


def as_float32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))


def gather(
    rows: Float[Tensor, "rows columns"], first: Int[Tensor, " batch"], length: int
) -> Float[Tensor, "batch {length} columns"]:
    """The windows of `length` rows that begin at `first`."""
    count, columns = len(rows) - length + 1, rows.shape[1]
    windows = rows.as_strided((count, length, columns), (columns, columns, 1))
    return windows.index_select(0, first)
