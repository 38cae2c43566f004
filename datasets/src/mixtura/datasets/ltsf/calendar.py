"""Calendar features in [-0.5, 0.5], as the long-term forecasting models take them.

Which ones depends on the step of the series: hour of day for hourly data, minute of hour as well
for finer data, week of year for weekly data.

References:
    The `timeF` encoding of Zhou et al., Informer, AAAI 2021, arXiv 2012.07436.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from mixtura.datasets.frequency import step_of

__all__ = ["calendar_features", "calendar_names"]

FEATURES: dict[str, Callable[[pd.DatetimeIndex], pd.Index]] = {
    "second": lambda stamps: stamps.second / 59 - 0.5,
    "minute": lambda stamps: stamps.minute / 59 - 0.5,
    "hour": lambda stamps: stamps.hour / 23 - 0.5,
    "weekday": lambda stamps: stamps.day_of_week / 6 - 0.5,
    "day": lambda stamps: (stamps.day - 1) / 30 - 0.5,
    "dayofyear": lambda stamps: (stamps.day_of_year - 1) / 365 - 0.5,
    "week": lambda stamps: (stamps.isocalendar().week.to_numpy(dtype=np.float64) - 1) / 52 - 0.5,
    "month": lambda stamps: (stamps.month - 1) / 11 - 0.5,
}

DAILY = ("weekday", "day", "dayofyear")
NAMES = {
    "second": ("second", "minute", "hour", *DAILY),
    "minute": ("minute", "hour", *DAILY),
    "hour": ("hour", *DAILY),
    "day": DAILY,
    "week": ("day", "week"),
    "month": ("month",),
    "quarter": ("month",),
    "year": (),
}


def calendar_names(frequency: str) -> tuple[str, ...]:
    """Names of the features of a series with this step.

    Args:
        frequency: a pandas alias such as `h`, `15min`, `D`.

    Raises:
        InputError: for an unknown frequency.
    """
    return NAMES[step_of(frequency)]


def calendar_features(
    stamps: Shaped[np.ndarray, " rows"], frequency: str
) -> Float[np.ndarray, "rows marks"]:
    """The features of each stamp, float64, in the order of `calendar_names`.

    Raises:
        InputError: for an unknown frequency.
    """
    index = pd.DatetimeIndex(stamps)
    columns = [np.asarray(FEATURES[name](index)) for name in calendar_names(frequency)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(index), 0))
