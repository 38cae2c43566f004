"""What `predict` leaves behind: a table of the future, and a picture of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from mixtura.datasets import LTSFDataModule, WindowBatch
from mixtura.forecasting.frames import future_frame

__all__ = ["ForecastWriter"]


LEVELS = [0.1, 0.5, 0.9]


class ForecastWriter(Callback):
    """Writes `forecast.csv` and `forecast.png` into the run's folder, in the units of the data.

    A network with a distribution also gives the quantiles 0.1, 0.5 and 0.9.
    """

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor,
        batch: WindowBatch,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """The one window that `predict` looks at."""
        from mixtura.forecasting.pictures import plot_future  # brings matplotlib

        data: Any = getattr(trainer, "datamodule", None)
        if not isinstance(data, LTSFDataModule) or not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        forecast = data.scaler.inverse(outputs[-1].double().cpu().numpy())
        frame = future_frame(data.table, forecast)
        band = None
        network: Any = getattr(pl_module, "network", None)
        if network is not None and network.probabilistic:
            band = _quantiles(pl_module, batch, data)
            for level, values in zip(LEVELS, band, strict=True):
                for number, name in enumerate(data.table.channels):
                    frame[f"{name}_q{level:g}"] = values[:, number]
        frame.to_csv(folder / "forecast.csv")
        past = pd.DataFrame(
            data.table.values[-2 * data.horizon :],
            columns=list(data.table.channels),
            index=_stamps(data, 2 * data.horizon),
        )
        channels = list(data.table.channels)
        plot_future(folder / "forecast.png", past, frame[channels], band)
        print(f"{len(frame)} rows from {frame.index[0]} on:")
        for name in ("forecast.csv", "forecast.png"):
            print(f"  {folder / name}")


def _quantiles(module: Any, batch: WindowBatch, data: LTSFDataModule) -> np.ndarray:
    """(levels, horizon, variates) in the units of the data."""
    past, future, marks = module.windows(batch)
    found = module.network.forecast_quantiles(past, future.shape[-1], LEVELS, marks)[:, -1]
    return data.scaler.inverse(found.transpose(1, 2).double().cpu().numpy())


def _stamps(data: LTSFDataModule, rows: int) -> pd.Index:
    if data.table.stamps is None:
        return pd.RangeIndex(max(data.table.rows - rows, 0), data.table.rows)
    return pd.DatetimeIndex(np.asarray(data.table.stamps)[-rows:])
