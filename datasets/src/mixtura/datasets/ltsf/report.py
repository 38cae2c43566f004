"""Every number of the protocol for one setting: borders, counts, scaler and naive scores."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from mixtura.datasets.ltsf.benchmarks import benchmark, load_series
from mixtura.datasets.ltsf.naive import last_value, lookback_mean, seasonal_naive
from mixtura.datasets.ltsf.scaler import StandardScaler
from mixtura.datasets.ltsf.windows import check_window, sliding_windows, window_count

__all__ = ["protocol_report"]

CHUNK = 1 << 17
"""Numbers per pass: keeps a pass within the processor's cache."""

DROPPED_BATCHES = (32, 128, 512)
"""Batch sizes at which older tables dropped the last, incomplete batch."""


def protocol_report(name: str, look_back: int, horizon: int) -> dict[str, Any]:
    """All that the long-term forecasting protocol fixes for a data set and one setting.

    Scores are on scaled values, in float64, over every test window. `mse_if_drop_last_bsN` is what
    a test loader that drops its last incomplete batch of N would have given, as in older tables.

    Args:
        name: of a registered forecasting set.
        look_back: rows before the forecast.
        horizon: rows to forecast.

    Returns:
        rows, channels, seasonal_period, train_rows, scaler_mean, scaler_scale_population_std, and
        `cases`: a list with one entry (L, H, borders, windows_train_val_test, first_test_input_sum,
        last_test_target_sum, baselines_on_test).

    Raises:
        InputError: for an unknown name, a missing file, or a setting that fits no window.
    """
    check_window(look_back, horizon)
    protocol, table = benchmark(name), load_series(name)
    borders = protocol.split.borders(table.rows, look_back)
    scaler = StandardScaler.fit(table.values[slice(*borders.train)])
    test = scaler.transform(table.values)[slice(*borders.test)]
    windows = sliding_windows(test, look_back + horizon)
    forecasts: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
        "last_value": last_value,
        "lookback_mean": lookback_mean,
        "seasonal_naive": partial(seasonal_naive, period=protocol.season),
    }
    case = {
        "L": look_back,
        "H": horizon,
        "borders": [list(part) for part in borders],
        "windows_train_val_test": [
            window_count(part.count, look_back, horizon) for part in borders
        ],
        "first_test_input_sum": float(windows[0, :look_back].sum()),
        "last_test_target_sum": float(windows[-1, look_back:].sum()),
        "baselines_on_test": {
            label: naive_scores(windows, look_back, forecast)
            for label, forecast in forecasts.items()
        },
    }
    return {
        "rows": table.rows,
        "channels": list(table.channels),
        "seasonal_period": protocol.season,
        "train_rows": list(borders.train),
        "scaler_mean": scaler.mean.tolist(),
        "scaler_scale_population_std": scaler.scale.tolist(),
        "cases": [case],
    }


def naive_scores(
    windows: np.ndarray, look_back: int, forecast: Callable[[np.ndarray, int], np.ndarray]
) -> dict[str, float]:
    horizon = windows.shape[1] - look_back
    mse, mae = np.empty(len(windows)), np.empty(len(windows))
    step = max(CHUNK // windows[0].size, 1)
    for start in range(0, len(windows), step):
        chunk = windows[start : start + step]
        error = forecast(chunk[:, :look_back], horizon) - chunk[:, look_back:]
        error = error.reshape(len(chunk), -1)
        mse[start : start + step] = np.einsum("we,we->w", error, error) / error.shape[1]
        mae[start : start + step] = np.abs(error, out=error).mean(axis=1)
    scores = {"mse": float(mse.mean()), "mae": float(mae.mean())}
    for batch in DROPPED_BATCHES:
        if kept := len(mse) // batch * batch:
            scores[f"mse_if_drop_last_bs{batch}"] = float(mse[:kept].mean())
    return scores
