"""What `predict` leaves behind: a table of the future, and a picture of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.datasets import LTSFDataModule, WindowBatch
from mixtura.forecasting.frames import future_frame

__all__ = ["ForecastWriter"]


LEVELS = [0.1, 0.5, 0.9]


class ForecastWriter(Callback):
    """Writes `forecast.csv` and `forecast.png` into the run's folder, in the units of the data.

    A network with a distribution also gives the quantiles 0.1, 0.5 and 0.9. Of several series the
    table has a column of items, and the picture shows the first.
    """

    def __init__(self) -> None:
        self.frames: list[pd.DataFrame] = []

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the first series.

        Raises:
            InputError: for several series and processes.
        """
        self.frames = []
        data: Any = getattr(trainer, "datamodule", None)
        if isinstance(data, LTSFDataModule) and len(data.tables) > 1 and trainer.world_size > 1:
            raise InputError(
                f"{len(data.tables)} series are forecast by one process, got {trainer.world_size}; "
                "set trainer.devices to 1"
            )

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor,
        batch: WindowBatch,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """One window of each series, in the order of the data."""
        data: Any = getattr(trainer, "datamodule", None)
        if not isinstance(data, LTSFDataModule) or not trainer.is_global_zero:
            return
        network: Any = getattr(pl_module, "network", None)
        quantiles = None
        if network is not None and network.probabilistic:
            quantiles = _quantiles(pl_module, batch)
        items = list(data.tables)
        for number, window in enumerate(_numbers(outputs)):
            item = items[len(self.frames)]
            table, scaler = data.tables[item], data.scalers[item]
            frame = future_frame(table, scaler.inverse(window))
            if quantiles is not None:
                band = scaler.inverse(quantiles[:, number])
                for level, values in zip(LEVELS, band, strict=True):
                    for place, name in enumerate(table.channels):
                        frame[f"{name}_q{level:g}"] = values[:, place]
            self.frames.append(frame)
        if len(self.frames) == len(items):
            self._write(Path(trainer.default_root_dir), data, quantiles is not None)

    def _write(self, folder: Path, data: LTSFDataModule, banded: bool) -> None:
        from mixtura.forecasting.pictures import plot_future  # brings matplotlib

        folder.mkdir(parents=True, exist_ok=True)
        first, channels, rows = self.frames[0], list(data.table.channels), 2 * data.horizon
        band = None
        if banded:
            band = np.stack([first[[f"{c}_q{q:g}" for c in channels]].to_numpy() for q in LEVELS])
        past = pd.DataFrame(data.table.values[-rows:], columns=channels, index=_stamps(data, rows))
        plot_future(folder / "forecast.png", past, first[channels], band)
        if data.item_column is not None:
            for item, frame in zip(data.tables, self.frames, strict=True):
                frame.insert(0, data.item_column, item)
        whole = pd.concat(self.frames)
        whole.to_csv(folder / "forecast.csv")
        print(f"{len(whole)} rows from {first.index[0]} on:")
        for name in ("forecast.csv", "forecast.png"):
            print(f"  {folder / name}")


def _numbers(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()


def _quantiles(module: Any, batch: WindowBatch) -> np.ndarray:
    """(levels, windows, horizon, variates), scaled."""
    past, future, marks = module.windows(batch)
    found = module.network.forecast_quantiles(past, future.shape[-1], LEVELS, marks)
    return _numbers(found.transpose(2, 3))


def _stamps(data: LTSFDataModule, rows: int) -> pd.Index:
    if data.table.stamps is None:
        return pd.RangeIndex(max(data.table.rows - rows, 0), data.table.rows)
    return pd.DatetimeIndex(np.asarray(data.table.stamps)[-rows:])
