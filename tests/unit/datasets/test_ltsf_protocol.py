import os
from pathlib import Path

import numpy as np
import pytest

from mixtura.datasets import (
    FixedSplit,
    ForecastScores,
    FractionSplit,
    InputError,
    StandardScaler,
    benchmark,
    calendar_features,
    calendar_names,
    clean_sentinels,
    last_value,
    load_series,
    lookback_mean,
    protocol_report,
    seasonal_naive,
    sliding_windows,
    window_count,
)
from mixtura.datasets.ltsf.reading import parse_table

SHARED = Path(os.environ.get("MIXTURA_DATA") or Path(__file__).parents[4] / "shared" / "data")


def test_borders_of_the_ett_sets() -> None:
    split = FixedSplit(train=8640, val=2880, test=2880)
    borders = split.borders(17420, 512)
    assert borders == ((0, 8640), (8128, 11520), (11008, 14400))
    assert [window_count(part.count, 512, 96) for part in borders] == [8033, 2785, 2785]


def test_borders_by_fractions_round_down_on_train_and_test() -> None:
    # 7588 rows: int(5311.6) = 5311 train, int(1517.6) = 1517 test, 760 between.
    assert FractionSplit().borders(7588, 96) == ((0, 5311), (5215, 6071), (5975, 7588))


def test_borders_never_reach_before_the_first_row() -> None:
    assert FractionSplit(train=0.5, test=0.25).borders(8, 100) == ((0, 4), (0, 6), (0, 8))


def test_too_short_a_table_for_a_fixed_split() -> None:
    with pytest.raises(InputError, match="needs 14400 rows"):
        FixedSplit(train=8640, val=2880, test=2880).borders(14399, 96)


@pytest.mark.parametrize(("train", "test"), [(0.0, 0.2), (0.9, 0.2), (1.2, 0.1), (0.5, -0.1)])
def test_fractions_that_make_no_split(train: float, test: float) -> None:
    with pytest.raises(InputError, match="must be positive and add up to at most 1"):
        FractionSplit(train=train, test=test)


def test_scaler_by_hand() -> None:
    # Column 0: mean 2, population variance (1 + 0 + 1) / 3. Column 1 is constant.
    scaler = StandardScaler.fit(np.array([[1.0, 0.1], [2.0, 0.1], [3.0, 0.1]]))
    np.testing.assert_allclose(scaler.mean, [2.0, 0.1])
    np.testing.assert_allclose(scaler.scale, [np.sqrt(2 / 3), 1.0])
    scaled = scaler.transform(np.array([[4.0, 0.6]]))
    np.testing.assert_allclose(scaled, [[2 / np.sqrt(2 / 3), 0.5]])
    np.testing.assert_allclose(scaler.inverse(scaled), [[4.0, 0.6]])


def test_windows_are_every_start_in_order() -> None:
    rows = np.arange(10.0).reshape(5, 2)
    windows = sliding_windows(rows, 3)
    assert windows.shape == (3, 3, 2)
    np.testing.assert_array_equal(windows[1], [[2, 3], [4, 5], [6, 7]])
    assert np.shares_memory(windows, rows)
    with pytest.raises(InputError, match="needs 6 rows, the series has 5"):
        sliding_windows(rows, 6)


def test_naive_forecasts_by_hand() -> None:
    past = np.array([[[1.0], [2.0], [6.0]]])
    np.testing.assert_array_equal(last_value(past, 2)[0, :, 0], [6, 6])
    np.testing.assert_array_equal(lookback_mean(past, 2)[0, :, 0], [3, 3])
    np.testing.assert_array_equal(seasonal_naive(past, 5, 2)[0, :, 0], [2, 6, 2, 6, 2])
    np.testing.assert_array_equal(seasonal_naive(past, 2, 4)[0, :, 0], [6, 6])


def test_scores_by_hand_and_whatever_the_batches() -> None:
    generator = np.random.default_rng(0)
    forecast, truth = generator.normal(size=(2, 7, 3, 2))
    whole = ForecastScores()
    whole.update(np.array([[[1.0, 2.0]]]), np.array([[[0.0, 4.0]]]))
    assert whole.compute()[:3] == (1, 2.5, 1.5)
    np.testing.assert_array_equal(whole.compute().mse_per_variate, [1, 4])
    for cuts in ([7], [3, 6], [1, 2, 3, 4, 5, 6]):
        scores = ForecastScores()
        for part in zip(np.split(forecast, cuts), np.split(truth, cuts), strict=True):
            scores.update(*part)
        assert scores.compute().windows == 7
        assert scores.compute().mse == pytest.approx(((forecast - truth) ** 2).mean(), rel=1e-12)
        assert scores.compute().mae == pytest.approx(abs(forecast - truth).mean(), rel=1e-12)
    with pytest.raises(InputError, match="no window was scored"):
        ForecastScores().compute()


def test_calendar_by_hand() -> None:
    # Friday 1 July 2016, 23:45: day 183 of a leap year.
    stamps = np.array(["2016-07-01T23:45:00"], dtype="datetime64[ns]")
    weekday, dayofyear = 4 / 6 - 0.5, 182 / 365 - 0.5
    np.testing.assert_allclose(
        calendar_features(stamps, "15min"), [[45 / 59 - 0.5, 0.5, weekday, -0.5, dayofyear]]
    )
    np.testing.assert_allclose(calendar_features(stamps, "h"), [[0.5, weekday, -0.5, dayofyear]])
    assert calendar_names("h") == ("hour", "weekday", "day", "dayofyear")
    assert calendar_names("10T") == ("minute", "hour", "weekday", "day", "dayofyear")
    np.testing.assert_allclose(calendar_features(stamps, "W"), [[-0.5, 25 / 52 - 0.5]])
    np.testing.assert_allclose(calendar_features(stamps, "MS"), [[6 / 11 - 0.5]])
    assert calendar_features(stamps, "YE").shape == (1, 0)


def test_sentinels_take_the_reading_before() -> None:
    bad = -9999.0
    values = np.array([[bad, 1.0, bad], [2.0, bad, bad], [bad, bad, bad], [3.0, 4.0, bad]])
    cleaned = clean_sentinels(values)
    np.testing.assert_array_equal(cleaned[:, 0], [2, 2, 2, 3])
    np.testing.assert_array_equal(cleaned[:, 1], [1, 1, 1, 4])
    np.testing.assert_array_equal(cleaned[:, 2], values[:, 2])
    assert values[0, 0] == bad


def test_reading_copes_with_line_ends_odd_bytes_and_odd_stamps() -> None:
    content = b"date,W/m\xb2,OT\r\n1990/1/1 0:00,0.1,2\r\n1990/1/2 0:00,0.30000000000000004,3\r\n"
    frame = parse_table(content, "odd.csv")
    assert list(frame.columns) == ["date", "W/m�", "OT"]
    assert frame["W/m�"][1] == 0.30000000000000004
    assert str(frame["date"][1]) == "1990-01-02 00:00:00"


def test_the_embedded_series() -> None:
    table = load_series("etth1")
    assert table.values.shape == (17420, 7)
    assert table.channels == ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    assert table.values[0, 0] == 5.827000141143799
    assert str(table.stamps[-1]).startswith("2018-06-26T19:00:00")


def test_the_protocol_of_the_embedded_series() -> None:
    report = protocol_report("ETTh1", 96, 96)
    assert report["cases"][0]["windows_train_val_test"] == [8449, 2785, 2785]
    naive = report["cases"][0]["baselines_on_test"]
    # "Repeat" in the tables of DLinear: 1.295 / 0.713.
    assert naive["last_value"]["mse"] == pytest.approx(1.2943705947845097, rel=1e-9)
    assert naive["last_value"]["mae"] == pytest.approx(0.7131813544413372, rel=1e-9)
    assert naive["seasonal_naive"]["mse"] == pytest.approx(0.5122251081819548, rel=1e-9)


@pytest.mark.skipif(not SHARED.is_dir(), reason="set MIXTURA_DATA to the folder of real files")
def test_the_odd_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXTURA_DATA", str(SHARED))
    weather = load_series("weather")
    assert (weather.values == -9999).sum() == 81
    assert not (clean_sentinels(weather.values) == -9999).any()
    assert weather.channels[16] == "SWDR (W/m�)"
    exchange = load_series("exchange")
    assert str(exchange.stamps[0]).startswith("1990-01-01T00:00:00")
    report = protocol_report("exchange", 96, 720)
    assert report["cases"][0]["windows_train_val_test"][2] == 798


def test_settings_that_cannot_be() -> None:
    with pytest.raises(InputError, match="horizon must be at least 1 step, got 0"):
        protocol_report("ETTh1", 96, 0)
    with pytest.raises(InputError, match="a window needs 4096 rows"):
        protocol_report("ETTh1", 96, 4000)
    with pytest.raises(InputError, match="chess is no forecasting data set"):
        benchmark("chess")
