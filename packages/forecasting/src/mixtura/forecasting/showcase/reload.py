"""A shared model is worth something if it gives the same forecast after loading."""

from pathlib import Path

import numpy as np
import pandas as pd

from mixtura.datasets import LTSFDataModule
from mixtura.forecasting.forecaster import Forecaster

__all__ = ["check_sharing"]


def check_sharing(
    forecaster: Forecaster, folder: Path, data: LTSFDataModule, horizon: int
) -> pd.DataFrame:
    """Load the folder, forecast what follows the data with both, and compare.

    Returns:
        The forecast.

    Raises:
        RuntimeError: when the two differ in a single bit.
    """
    table = data.table
    frame = pd.DataFrame(
        table.values[-data.look_back :],
        columns=list(table.channels),
        index=None if table.stamps is None else pd.DatetimeIndex(table.stamps[-data.look_back :]),
    )
    forecast = forecaster.predict(frame, horizon)
    again = Forecaster.from_pretrained(folder).predict(frame, horizon)
    if not np.array_equal(forecast.to_numpy(), again.to_numpy()):
        difference = float(np.abs(forecast.to_numpy() - again.to_numpy()).max())
        raise RuntimeError(f"the model in {folder} forecasts otherwise, by up to {difference:g}")
    return forecast
