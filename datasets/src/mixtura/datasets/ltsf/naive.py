"""Forecasts that need no training; every table holds them as the floor."""

import numpy as np
from jaxtyping import Float

__all__ = ["last_value", "lookback_mean", "seasonal_naive"]

Past = Float[np.ndarray, "windows look_back variates"]
Future = Float[np.ndarray, "windows horizon variates"]


def last_value(past: Past, horizon: int) -> Future:
    """The last observed value, repeated ("Repeat" in the tables)."""
    return np.broadcast_to(past[:, -1:], (len(past), horizon, past.shape[2]))


def lookback_mean(past: Past, horizon: int) -> Future:
    """The mean of the look-back, repeated."""
    mean = past.mean(axis=1, keepdims=True)
    return np.broadcast_to(mean, (len(past), horizon, past.shape[2]))


def seasonal_naive(past: Past, horizon: int, period: int) -> Future:
    """The last `period` values, repeated; the last value if the look-back is shorter than that."""
    length = past.shape[1]
    if length < period:
        return last_value(past, horizon)
    return past[:, length - period + np.arange(horizon) % period]
