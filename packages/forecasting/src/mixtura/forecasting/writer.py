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


class ForecastWriter(Callback):
    """Writes `forecast.csv` and `forecast.png` into the run's folder, in the units of the data."""

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
        frame.to_csv(folder / "forecast.csv")
        past = pd.DataFrame(
            data.table.values[-2 * data.horizon :],
            columns=list(data.table.channels),
            index=_stamps(data, 2 * data.horizon),
        )
        plot_future(folder / "forecast.png", past, frame)
        print(f"{len(frame)} rows from {frame.index[0]} on:")
        for name in ("forecast.csv", "forecast.png"):
            print(f"  {folder / name}")


def _stamps(data: LTSFDataModule, rows: int) -> pd.Index:
    if data.table.stamps is None:
        return pd.RangeIndex(max(data.table.rows - rows, 0), data.table.rows)
    return pd.DatetimeIndex(np.asarray(data.table.stamps)[-rows:])
