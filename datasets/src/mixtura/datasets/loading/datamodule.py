"""The Lightning data module for forecasting: a registered set by name, or a file of one's own."""

from functools import cached_property
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.datasets.frequency import seasonal_period
from mixtura.datasets.loading.joined import JoinedWindows
from mixtura.datasets.loading.loader import EvaluationLoader, TrainingLoader
from mixtura.datasets.loading.panel import Panel
from mixtura.datasets.loading.source import WindowSource
from mixtura.datasets.ltsf.benchmarks import benchmark, load_series
from mixtura.datasets.ltsf.calendar import calendar_names
from mixtura.datasets.ltsf.filling import clean_sentinels
from mixtura.datasets.ltsf.future import with_future
from mixtura.datasets.ltsf.scaler import StandardScaler
from mixtura.datasets.ltsf.series import SeriesTable
from mixtura.datasets.ltsf.splits import Borders, FractionSplit, Rows, Split
from mixtura.datasets.ltsf.windows import check_window
from mixtura.datasets.own_items import about_item, read_own_items
from mixtura.datasets.own_table import read_own_table

__all__ = ["LTSFDataModule"]

Part = Literal["train", "val", "test"]


@configurable
class LTSFDataModule(pl.LightningDataModule):
    """Windows of series in `WindowBatch`es, by the long-term forecasting protocol.

    Registered sets are cut and scaled as the papers do; a file of one's own (`path`) is cut by
    fractions. Scaling uses the training rows only. Validation and test see every window. Several
    series below each other (`item_column`) are cut and scaled each by itself, and their windows are
    mixed; a part in which a series is too short for a window has none of it.

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
        item_column: its column that tells several series apart; null for one series.
        static_covariates: its columns of numbers that never change within an item.
        frequency: its step (`h`, `15min`, `D`); null to see it from the dates.
        train_fraction: of the rows of `path`, from the beginning.
        test_fraction: of the rows of `path`, at the end; what is between validates.
        missing: refuse empty cells and steps without a row in `path`, or fill them with the reading
            before.
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
        item_column: str | None = None,
        static_covariates: list[str] | None = None,
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
        self.item_column, self.static_covariates = item_column, static_covariates or []
        if self.static_covariates and item_column is None:
            raise InputError(
                f"static covariates ({', '.join(self.static_covariates)}) tell series apart; name "
                "the column of the items with item_column"
            )
        if item_column is not None and path is None:
            raise InputError(f"the column {item_column!r} of items is one of a file; give its path")
        self.own_split = FractionSplit(train=train_fraction, test=test_fraction)
        self.missing: Literal["raise", "fill"] = missing
        self.constant: Literal["raise", "keep"] = constant
        self.seed, self.num_workers, self.pin_memory = seed, num_workers, pin_memory

    @cached_property
    def panel(self) -> Panel:
        """The series and how they are cut and scaled; read and checked when first needed."""
        tables = self._read()
        if self.clean_sentinels:
            tables = {
                item: table.with_values(clean_sentinels(table.values))
                for item, table in tables.items()
            }
        return Panel(
            tables,
            self.split,
            self.look_back,
            self.item_column,
            self.scale,
            refuse_constant=self.path is not None and self.constant == "raise",
        )

    def _read(self) -> dict[str, SeriesTable]:
        if self.path is None:
            table = load_series(str(self.name))
            return {table.name: table}
        columns: dict[str, Any] = {
            "date_column": self.date_column,
            "target": self.target,
            "covariates": self.covariates,
            "known_covariates": self.known_covariates,
            "frequency": self.frequency,
            "missing": self.missing,
        }
        if self.item_column is None:
            table = read_own_table(self.path, **columns)
            return {table.name: table}
        return read_own_items(
            self.path, self.item_column, static_covariates=self.static_covariates, **columns
        )

    @property
    def tables(self) -> dict[str, SeriesTable]:
        """Every series by its item, in the units of the file; one series under its own name."""
        return self.panel.tables

    @property
    def table(self) -> SeriesTable:
        """The whole series, or the first one of several."""
        return next(iter(self.tables.values()))

    @property
    def split(self) -> Split:
        """How the rows are cut."""
        return benchmark(str(self.name)).split if self.path is None else self.own_split

    @property
    def borders(self) -> Borders:
        """The rows of each part of `table`."""
        return self.panel.borders(next(iter(self.tables)))

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

    @property
    def scaler(self) -> StandardScaler:
        """Of the variates of `table`; `scaler.inverse` gives the file's units."""
        return next(iter(self.scalers.values()))

    @property
    def scalers(self) -> dict[str, StandardScaler]:
        """Of the variates of every series, from its training rows."""
        return self.panel.scalers

    @property
    def covariate_scaler(self) -> StandardScaler:
        """Of past, known and static covariates, from the training rows."""
        return self.panel.covariate_scaler

    def setup(self, stage: str) -> None:
        """Read and check the data; calling it again does nothing."""
        for part in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(
            stage, ()
        ):
            self.source(part)
            short = [] if self.item_column is None else list(self.too_short(part))
            if short:
                rank_zero_warn(
                    f"{len(short)} of {len(self.tables)} series are too short for a window of "
                    f"{part} and have none: {', '.join(short[:5])}{', ...' * (len(short) > 5)}"
                )

    def source(self, part: Part) -> WindowSource | JoinedWindows:
        """The windows of one part, of all series.

        Raises:
            InputError: when it holds none.
        """
        if self.item_column is None:
            return self.source_of(next(iter(self.tables)), part)
        short = self.too_short(part)
        fitting = [item for item in self.tables if item not in short]
        if not fitting:
            raise InputError(
                f"the {part} parts of the {len(short)} series of {self.table.name} are too short "
                f"for a window of look_back {self.look_back} + horizon {self.horizon} rows, the "
                f"longest has {max(short.values())}; shorten them or give more data"
            )
        return JoinedWindows([self.source_of(item, part) for item in fitting])

    def too_short(self, part: Part) -> dict[str, int]:
        """The series that have no window in a part, with their rows in it."""
        rows = {item: getattr(self.panel.borders(item), part).count for item in self.tables}
        length = self.look_back + self.horizon
        return {item: count for item, count in rows.items() if count < length}

    def source_of(self, item: str, part: Part) -> WindowSource:
        """The windows of one part of one series.

        Raises:
            InputError: when it holds none.
        """
        rows = getattr(self.panel.borders(item), part)
        limit = None
        if part == "test" and self.compat_time_moe_windows:
            limit = rows.count - self.look_back - self.horizon
        stride = self.stride if part == "train" else 1
        return self.windows_of(item, self.tables[item], rows, stride=stride, limit=limit, part=part)

    def windows_of(
        self, item: str, table: SeriesTable, rows: Rows, stride: int, limit: int | None, part: str
    ) -> WindowSource:
        """Windows of any rows of a table, scaled like the training rows of an item."""
        return WindowSource(
            table,
            rows,
            self.look_back,
            self.horizon,
            scaler=self.scalers[item],
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
        """One window of each series: its last `look_back` rows, and `horizon` unknown ones."""
        sources = []
        for item, table in self.tables.items():
            with about_item(self.item_column, item):
                ahead = with_future(table, self.horizon)
                rows = Rows(max(table.rows - self.look_back, 0), ahead.rows)
                sources.append(
                    self.windows_of(item, ahead, rows, stride=1, limit=None, part="last")
                )
        return self.evaluation(JoinedWindows(sources))

    def evaluation(self, source: WindowSource | JoinedWindows) -> EvaluationLoader:
        """The loader of validation, test and prediction."""
        return EvaluationLoader(
            source,
            self.eval_batch_size,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )
