"""The Lightning data module for forecasting: a registered set by name, or a file of one's own."""

from functools import cached_property
from typing import Literal

import numpy as np
import pytorch_lightning as pl

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.datasets.frequency import seasonal_period
from mixtura.datasets.loading.loader import EvaluationLoader, TrainingLoader
from mixtura.datasets.loading.source import WindowSource
from mixtura.datasets.ltsf.benchmarks import benchmark, load_series
from mixtura.datasets.ltsf.calendar import calendar_names
from mixtura.datasets.ltsf.filling import clean_sentinels
from mixtura.datasets.ltsf.future import with_future
from mixtura.datasets.ltsf.scaler import StandardScaler
from mixtura.datasets.ltsf.series import SeriesTable
from mixtura.datasets.ltsf.splits import Borders, FractionSplit, Rows, Split
from mixtura.datasets.ltsf.windows import check_window
from mixtura.datasets.own_table import read_own_table

__all__ = ["LTSFDataModule"]

Part = Literal["train", "val", "test"]


@configurable
class LTSFDataModule(pl.LightningDataModule):
    """Windows of a series in `WindowBatch`es, by the long-term forecasting protocol.

    Registered sets are cut and scaled as the papers do; a file of one's own (`path`) is cut by
    fractions. Scaling uses the training rows only. Validation and test see every window.

    Args:
        name: a registered set, see `mixtura-data list`; not used when `path` is given.
        look_back: rows that the model sees.
        horizon: rows that it forecasts.
        batch_size: training windows per batch and device.
        eval_batch_size: windows per batch in validation and test; `batch_size` if null.
        stride: rows between the beginnings of two training windows.
        scale: standardise each variate by mean and population deviation of the training rows.
        clean_sentinels: replace readings of -9999 by the reading before (published scores keep
            them).
        compat_time_moe_windows: leave out the last test window, as the evaluation of Time-MoE does.
        path: a CSV file of your own.
        date_column: its column of timestamps; null for a file without dates.
        target: its column or columns to forecast; null for every numeric one.
        covariates: its columns that are known up to the present.
        known_covariates: its columns that are known in the future as well.
        frequency: its step (`h`, `15min`, `D`); null to see it from the dates.
        train_fraction: of the rows of `path`, from the beginning.
        test_fraction: of the rows of `path`, at the end; what is between validates.
        missing: refuse empty cells in `path`, or fill them with the reading before.
        constant: refuse targets of `path` that never change in the training rows, or keep them.
        seed: of the order of training windows.
        num_workers: processes that gather batches.
        pin_memory: for transfers to a GPU.

    Raises:
        InputError: for anything of this that cannot be; at construction where no data is needed to
            see it, else when the data is first needed.
    """

    def __init__(
        self,
        name: str = "ETTh1",
        look_back: int = 96,
        horizon: int = 96,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        stride: int = 1,
        scale: bool = True,
        clean_sentinels: bool = False,
        compat_time_moe_windows: bool = False,
        path: str | None = None,
        date_column: str | None = "date",
        target: str | list[str] | None = None,
        covariates: list[str] | None = None,
        known_covariates: list[str] | None = None,
        frequency: str | None = None,
        train_fraction: float = 0.7,
        test_fraction: float = 0.2,
        missing: Literal["raise", "fill"] = "raise",
        constant: Literal["raise", "keep"] = "raise",
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        check_window(look_back, horizon)
        if path is None:
            benchmark(name)
        self.name, self.path = name, path
        self.look_back, self.horizon, self.stride = look_back, horizon, stride
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.scale, self.clean_sentinels = scale, clean_sentinels
        self.compat_time_moe_windows = compat_time_moe_windows
        self.date_column, self.target, self.frequency = date_column, target, frequency
        self.covariates, self.known_covariates = covariates or [], known_covariates or []
        self.own_split = FractionSplit(train=train_fraction, test=test_fraction)
        self.missing: Literal["raise", "fill"] = missing
        self.constant: Literal["raise", "keep"] = constant
        self.seed, self.num_workers, self.pin_memory = seed, num_workers, pin_memory

    @cached_property
    def table(self) -> SeriesTable:
        """The whole series in the units of the file; read and checked when first asked for."""
        if self.path is None:
            table = load_series(str(self.name))
        else:
            table = read_own_table(
                self.path,
                date_column=self.date_column,
                target=self.target,
                covariates=self.covariates,
                known_covariates=self.known_covariates,
                frequency=self.frequency,
                missing=self.missing,
            )
        return table.with_values(clean_sentinels(table.values)) if self.clean_sentinels else table

    @property
    def split(self) -> Split:
        """How the rows are cut."""
        return benchmark(str(self.name)).split if self.path is None else self.own_split

    @property
    def borders(self) -> Borders:
        """The rows of each part."""
        return self.split.borders(self.table.rows, self.look_back)

    @property
    def variates(self) -> int:
        """Number of variates to forecast."""
        return self.table.values.shape[1]

    @property
    def marks(self) -> tuple[str, ...]:
        """Names of the calendar features."""
        return calendar_names(self.table.frequency) if self.table.frequency else ()

    @property
    def season(self) -> int:
        """Rows in a season, for the seasonal naive forecast; 1 for a file without dates."""
        if self.path is None:
            return benchmark(str(self.name)).season
        return seasonal_period(self.table.frequency) if self.table.frequency else 1

    @cached_property
    def scaler(self) -> StandardScaler:
        """Of the variates, from the training rows; `scaler.inverse` gives the file's units."""
        rows = self.table.values[slice(*self.borders.train)]
        if self.path is not None and self.constant == "raise" and len(rows):
            same = (rows == rows[0]).all(axis=0)
            if same.any():
                column = int(same.argmax())
                raise InputError(
                    f"column {self.table.channels[column]!r} of {self.table.name} is "
                    f"{rows[0, column]:g} in every training row, so there is nothing to learn; "
                    "leave it out, or set constant to 'keep'"
                )
        return StandardScaler.fit(rows) if self.scale else StandardScaler.identity(rows.shape[1])

    @cached_property
    def covariate_scaler(self) -> StandardScaler:
        """Of past covariates followed by known ones, from the training rows."""
        rows = slice(*self.borders.train)
        both = [self.table.past_covariates[rows], self.table.known_covariates[rows]]
        values = np.concatenate(both, axis=1)
        fitted = self.scale and values.shape[1] > 0
        return StandardScaler.fit(values) if fitted else StandardScaler.identity(values.shape[1])

    def setup(self, stage: str) -> None:
        """Read and check the data; calling it again does nothing."""
        for part in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(
            stage, ()
        ):
            self.source(part)

    def source(self, part: Part) -> WindowSource:
        """The windows of one part.

        Raises:
            InputError: when it holds none.
        """
        rows = getattr(self.borders, part)
        limit = None
        if part == "test" and self.compat_time_moe_windows:
            limit = rows.count - self.look_back - self.horizon
        return self.windows_of(
            self.table, rows, stride=self.stride if part == "train" else 1, limit=limit, part=part
        )

    def windows_of(
        self, table: SeriesTable, rows: Rows, stride: int, limit: int | None, part: str
    ) -> WindowSource:
        """Windows of any rows of a table, scaled like the training rows."""
        return WindowSource(
            table,
            rows,
            self.look_back,
            self.horizon,
            scaler=self.scaler,
            covariate_scaler=self.covariate_scaler,
            stride=stride,
            windows=limit,
            part=part,
        )

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled; resumable within an epoch."""
        return TrainingLoader(
            self.source("train"),
            self.batch_size,
            seed=self.seed,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )

    def val_dataloader(self) -> EvaluationLoader:
        """Every validation window once, in order."""
        return self.evaluation(self.source("val"))

    def test_dataloader(self) -> EvaluationLoader:
        """Every test window once, in order."""
        return self.evaluation(self.source("test"))

    def predict_dataloader(self) -> EvaluationLoader:
        """One window: the last `look_back` rows and the unknown `horizon` rows after them."""
        ahead = with_future(self.table, self.horizon)
        rows = Rows(max(self.table.rows - self.look_back, 0), ahead.rows)
        return self.evaluation(self.windows_of(ahead, rows, stride=1, limit=None, part="last"))

    def evaluation(self, source: WindowSource) -> EvaluationLoader:
        """The loader of validation, test and prediction."""
        return EvaluationLoader(
            source,
            self.eval_batch_size,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )
