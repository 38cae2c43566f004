"""Frames that cannot be forecast: one sentence each, and the frame as it was."""

from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest

from mixtura.core import InputError
from mixtura.forecasting import DLinear, Forecaster, ITransformer, LastValue, SegMoE
from mixtura.forecasting.frames import series_of

STAMPS = pd.date_range("2021-01-01", periods=30, freq="h")


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"date": STAMPS, "load": np.arange(30.0)}).assign(**columns)


def stamps(**changes: str) -> pd.DataFrame:
    """The frame with other stamps in the rows `row_N`."""
    other = list(STAMPS)
    for row, stamp in changes.items():
        other[int(row.removeprefix("row_"))] = pd.Timestamp(stamp)
    return frame(date=other)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (stamps(row_9="2021-01-01 08:00"), "row 9 repeats the timestamp 2021-01-01 08:00"),
        (stamps(row_9="2021-01-01 09:20"), "not regular: the usual step is 0 days 01:00:00"),
        (stamps(row_9="2020-12-31 09:00"), "goes back in time"),
        (frame().iloc[:2], "at least 3 rows are needed to see the frequency"),
        (frame(load=np.nan), "column 'load' holds no number at all"),
        (frame(load=np.inf), "column 'load' holds no number at all"),
        (frame(load=np.where(np.arange(30) == 17, np.nan, 1.0)), "empty or infinite in row 17"),
        (frame().rename(columns={"load": "item 7"}), "no column 'load'; did you mean item 7"),
        (frame().drop(columns="load"), "no column 'load'"),
        (frame(load=["1"] * 29 + ["two"]), "cells that are no numbers"),
        (frame().assign(date=pd.date_range("2021", periods=30, freq="15min")), "has '15min'"),
    ],
)
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames(table: pd.DataFrame, words: str, kind: str) -> None:
    forecaster = Forecaster(LastValue(8), channels=["load"], frequency="h")
    given = table if kind == "pandas" else polars.DataFrame(table.to_dict("list"))
    before = table.copy()
    with pytest.raises(InputError, match=words) as caught:
        forecaster.predict(given, 2)
    assert len(str(caught.value).splitlines()) == 1
    pd.testing.assert_frame_equal(table, before)


def test_a_frequency_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="'hourly' is no known frequency"):
        series_of(frame(), None, frequency="hourly")


def test_a_context_that_is_too_short() -> None:
    with pytest.raises(InputError, match="look-back of 48 points, got 30"):
        Forecaster(DLinear(48, 4)).predict(frame(), 4)
    network = SegMoE(64, 32, 1.5, 1, dim=8, num_heads=2, num_kv_heads=1, hidden_dim=8)
    with pytest.raises(InputError, match="at least 48 points, got 30"):
        Forecaster(network).predict(frame(), 4)


def test_a_horizon_beyond_the_head() -> None:
    with pytest.raises(InputError, match="horizon of 4, got 5"):
        Forecaster(DLinear(8, 4)).predict(frame(), 5)
    with pytest.raises(InputError, match="at least 1, got -1"):
        Forecaster(LastValue(8)).predict(frame(), -1)
    with pytest.raises(InputError, match="horizon of 4, got 5"):
        Forecaster(DLinear(8, 4)).calibrated(frame(), 5)


def test_covariates_whose_future_nobody_knows() -> None:
    small: dict[str, int] = {"dim": 8, "num_heads": 2, "hidden_dim": 8, "num_layers": 1}
    forecaster = Forecaster(ITransformer(8, 4, **small), channels=["load"], calendar=True)
    with pytest.raises(InputError, match="looks at the calendar, and the frame has no dates"):
        forecaster.predict(frame().drop(columns="date"), 4)
    assert len(forecaster.predict(frame(), 4)) == 4


def test_a_constant_series_is_no_mistake() -> None:
    small: dict[str, int] = {"dim": 8, "num_heads": 2, "num_kv_heads": 1, "hidden_dim": 8}
    for network in (LastValue(8), DLinear(8, 4), SegMoE(16, 4, 1.5, 1, **small)):
        future = Forecaster(network).predict(frame(load=3.0), 4)
        assert np.isfinite(future.to_numpy()).all()
    assert (Forecaster(LastValue(8)).predict(frame(load=3.0), 4)["load"] == 3.0).all()
