import numpy as np
import pandas as pd
import pytest

from mixtura.datasets import (
    InputError,
    future_stamps,
    infer_frequency,
    normal_frequency,
    seasonal_period,
)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("H", "h"),
        ("15T", "15min"),
        ("M", "ME"),
        ("Q", "QE-DEC"),
        ("A", "YE-DEC"),
        ("W", "W-SUN"),
        ("W-TUE", "W-TUE"),
        ("10min", "10min"),
    ],
)
def test_old_and_new_spellings(given: str, normal: str) -> None:
    assert normal_frequency(given) == normal


@pytest.mark.parametrize("given", ["hourly", "", "0h", "15", "h h", "X"])
def test_no_frequency(given: str) -> None:
    with pytest.raises(InputError, match="is no known frequency"):
        normal_frequency(given)


@pytest.mark.parametrize(
    ("frequency", "period"),
    [
        ("h", 24),
        ("15min", 96),
        ("10T", 144),
        ("D", 7),
        ("B", 5),
        ("W", 52),
        ("MS", 12),
        ("QE", 4),
        ("YE", 1),
        ("2D", 3),
    ],
)
def test_seasons(frequency: str, period: int) -> None:
    assert seasonal_period(frequency) == period


@pytest.mark.parametrize("frequency", ["h", "15min", "D", "W-TUE", "MS", "ME", "B", "QE-DEC"])
def test_the_frequency_is_seen_and_continued(frequency: str) -> None:
    stamps = pd.date_range("2020-01-01", periods=12, freq=frequency).to_numpy()
    found = infer_frequency(stamps[:9])
    assert found == normal_frequency(frequency)
    np.testing.assert_array_equal(future_stamps(stamps[8], found, 3), stamps[9:])


def stamps(*hours: int) -> np.ndarray:
    return np.datetime64("2020-01-01T00", "ns") + np.array(hours, dtype="timedelta64[h]")


def test_stamps_that_are_no_series() -> None:
    with pytest.raises(InputError, match="row 2 repeats the timestamp 2020-01-01 01:00:00"):
        infer_frequency(stamps(0, 1, 1, 2))
    with pytest.raises(InputError, match="row 2 goes back in time"):
        infer_frequency(stamps(0, 2, 1, 3))
    with pytest.raises(InputError, match=r"usual step is 0 days 01:00:00, but row 3 goes from"):
        infer_frequency(stamps(0, 1, 2, 4, 5))
    with pytest.raises(InputError, match="at least 3 rows"):
        infer_frequency(stamps(0, 1))
