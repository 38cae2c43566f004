"""Steps of time by name: pandas aliases, in the old and the new spelling."""

import re
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches

import numpy as np
import pandas as pd
from jaxtyping import Shaped
from pandas.tseries.frequencies import to_offset

from mixtura.core.errors import InputError

__all__ = ["future_stamps", "infer_frequency", "normal_frequency", "seasonal_period", "step_of"]

RENAMED = {
    "H": "h",
    "T": "min",
    "S": "s",
    "M": "ME",
    "Q": "QE",
    "A": "YE",
    "Y": "YE",
    "BH": "bh",
    "L": "ms",
}
"""Aliases that pandas 3 refuses or warns about, with their present spelling."""

STEPS = {
    "s": "second",
    "min": "minute",
    "h": "hour",
    "bh": "hour",
    "D": "day",
    "B": "day",
    "C": "day",
    "W": "week",
    "ME": "month",
    "MS": "month",
    "BME": "month",
    "BMS": "month",
    "QE": "quarter",
    "QS": "quarter",
    "BQE": "quarter",
    "BQS": "quarter",
    "YE": "year",
    "YS": "year",
    "BYE": "year",
    "BYS": "year",
}


def normal_frequency(frequency: str) -> str:
    """The present spelling of a pandas alias: `15T` -> `15min`, `H` -> `h`, `M` -> `ME`.

    Raises:
        InputError: for a name that is no frequency, with the nearest ones.
    """
    match = re.fullmatch(r"\s*(\d*)\s*([A-Za-z]+)(-[A-Za-z]+)?\s*", frequency)
    count, name, anchor = match.groups(default="") if match else ("", "", "")
    name = RENAMED.get(name, name)
    if name not in STEPS or count == "0":
        near = get_close_matches(name, STEPS, n=3, cutoff=0.3) or ["h", "15min", "D"]
        raise InputError(
            f"{frequency!r} is no known frequency; did you mean {', '.join(near)}? "
            f"Known are {', '.join(STEPS)}, with a number before them if need be"
        )
    try:
        return pd.tseries.frequencies.to_offset(f"{count}{name}{anchor}").freqstr
    except ValueError as error:
        raise InputError(f"{frequency!r} is no known frequency: {error}") from error


def step_of(frequency: str) -> str:
    """The kind of step: second, minute, hour, day, week, month, quarter or year."""
    return STEPS[re.sub(r"^\d+|-.*$", "", normal_frequency(frequency))]


def seasonal_period(frequency: str) -> int:
    """Rows in the usual season: a day for steps below a day, else a year (a week for days).

    `h` 24, `15min` 96, `D` 7, `B` 5, `W` 52, `ME` 12, `QE` 4, `YE` 1.
    """
    step = step_of(frequency)
    count = pd.tseries.frequencies.to_offset(normal_frequency(frequency)).n
    if step == "day" and "B" in frequency:
        return 5
    of_one = {"second": 86400, "minute": 1440, "hour": 24, "day": 7, "week": 52, "month": 12}
    period = of_one.get(step, 4 if step == "quarter" else 1)
    return max(period // count, 1)


def infer_frequency(stamps: Shaped[np.ndarray, " rows"]) -> str:
    """The frequency of increasing stamps.

    Raises:
        InputError: when there are fewer than three stamps, one repeats, they go back, or the step
            is not regular; the message names the first row where that is so (row 0 is the first
            below the header).
    """
    index = pd.DatetimeIndex(stamps)
    if len(index) < 3:
        raise InputError(
            f"at least 3 rows are needed to see the frequency, found {len(index)}; name it, "
            "for example frequency='h'"
        )
    steps = np.diff(index.to_numpy())
    zero = np.timedelta64(0, "ns")
    if (steps == zero).any():
        row = int(np.argmax(steps == zero)) + 1
        raise InputError(
            f"row {row} repeats the timestamp {index[row]} of the row before; keep one row for "
            "each timestamp"
        )
    if (steps < zero).any():
        row = int(np.argmax(steps < zero)) + 1
        raise InputError(
            f"row {row} goes back in time, from {index[row - 1]} to {index[row]}; sort the file "
            "by its date column"
        )
    with _quiet_inference():
        found = pd.infer_freq(index)
    if found is None:
        kinds, counts = np.unique(steps, return_counts=True)
        usual = kinds[counts.argmax()]
        row = int(np.argmax(steps != usual)) + 1
        raise InputError(
            f"the timestamps are not regular: the usual step is {pd.Timedelta(usual)}, but row "
            f"{row} goes from {index[row - 1]} to {index[row]}; resample the file, set missing to "
            "'fill' to repeat the reading before a gap, or name the frequency to take the rows as "
            "they are"
        )
    return normal_frequency(to_offset(found).freqstr)


def _quiet_inference() -> AbstractContextManager[object]:
    """Since 3.1 pandas warns until it is asked for offsets; before, it has no such option."""
    if hasattr(pd.options.future, "infer_freq_returns_offset"):
        return pd.option_context("future.infer_freq_returns_offset", True)
    return nullcontext()


def future_stamps(last: np.datetime64, frequency: str, count: int) -> Shaped[np.ndarray, " count"]:
    """The next `count` stamps after `last`, a multiple of the step away from it."""
    offset = pd.tseries.frequencies.to_offset(normal_frequency(frequency))
    start = pd.Timestamp(last)
    return pd.DatetimeIndex([start + offset * k for k in range(1, count + 1)]).to_numpy()
