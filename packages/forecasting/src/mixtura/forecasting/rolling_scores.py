"""MASE and weighted quantile loss of a forecaster over rolling windows, by gluonts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixtura.core.errors import InputError
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting.forecaster import Forecaster
from mixtura.forecasting.predictors import create_predictor

__all__ = ["DECILES", "RollingScores", "rolling_scores"]

DECILES = [round(0.1 * number, 1) for number in range(1, 10)]


@dataclass(frozen=True)
class RollingScores:
    """What `gluonts.model.evaluate_model` says of all variates and windows together.

    Attributes:
        mase: mean absolute error of the point forecast (of the median, where the network gives a
            distribution) over that of the seasonal naive forecast of the past, by series.
        wql: mean over the deciles of the quantile loss over the sum of absolute values (the "CRPS"
            of GIFT-Eval), in the units of the data.
        windows: rolling windows that do not overlap, over the test rows.
        season: of MASE.
    """

    mase: float
    wql: float
    windows: int
    season: int


def rolling_scores(
    forecaster: Forecaster, data: LTSFDataModule, horizon: int, max_windows: int = 1000
) -> RollingScores:
    """Score a forecaster on the test rows of its data.

    Quantiles of a network of point forecasts are calibrated on the validation rows (split
    conformal prediction).

    Args:
        forecaster: of the data's variates, or of any.
        data: a registered set, or a file with dates.
        horizon: points forecast in each window.
        max_windows: validation windows for the calibration.

    Raises:
        InputError: for data without dates, or too few of them.
    """
    from gluonts.dataset.common import ListDataset
    from gluonts.dataset.split import split
    from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
    from gluonts.model import evaluate_model

    table, borders = data.table, data.borders
    if table.stamps is None or table.frequency is None:
        raise InputError(f"{table.name} has no dates, and gluonts needs them; give a date column")
    windows = (borders.test.count - data.look_back) // horizon
    if windows < 1:
        raise InputError(
            f"the test part of {table.name} has {borders.test.count - data.look_back} rows, too "
            f"few for a horizon of {horizon}"
        )
    point = "0.5" if forecaster.network.probabilistic else "mean"
    if not forecaster.network.probabilistic:
        known = slice(borders.val.start, borders.val.stop)
        frame = pd.DataFrame(table.values[known], columns=list(table.channels))
        frame.insert(0, "date", table.stamps[known])
        forecaster = forecaster.calibrated(frame, horizon, levels=DECILES, max_windows=max_windows)
    predictor = create_predictor(forecaster, horizon, quantile_levels=DECILES)
    entry = {
        "target": table.values[: borders.test.stop].T,
        "start": pd.Period(pd.Timestamp(table.stamps[0]), freq=table.frequency),
        "item_id": table.name,
    }
    dataset = ListDataset([entry], freq=table.frequency, one_dim_target=False)
    _, template = split(dataset, offset=-windows * horizon)
    found = evaluate_model(
        predictor,
        test_data=template.generate_instances(horizon, windows=windows, distance=horizon),
        metrics=[MASE(point), MeanWeightedSumQuantileLoss(DECILES)],
        seasonality=data.season,
        axis=None,
    )
    mase, wql = (float(np.asarray(found[name])[0]) for name in found.columns)
    return RollingScores(mase, wql, windows, data.season)
