"""Quantiles: heads, calibration, frames."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest
import torch

from mixtura.core import InputError, from_config, to_config
from mixtura.forecasting import (
    ConformalResiduals,
    DLinear,
    Forecaster,
    ForecastNetwork,
    LastValue,
    MoiraiMoE,
    QuantileNetwork,
    SegMoE,
    TimeMoE,
)
from mixtura.forecasting.networks.quantile import pinball_loss


def frame(rows: int = 80, seed: int = 0) -> pd.DataFrame:
    noise = np.random.default_rng(seed).normal(size=(rows, 2))
    return pd.DataFrame(
        {
            "date": pd.date_range("2021-01-01", periods=rows, freq="h"),
            "load": noise[:, 0] * 2 + 10,
            "wind": noise[:, 1] / 2,
        }
    )


def test_the_pinball_loss_is_smallest_at_the_quantile() -> None:
    target = torch.arange(100.0)
    losses = [
        float(pinball_loss(torch.full((1, 100), float(guess)), target, [0.9]))
        for guess in range(100)
    ]
    assert int(np.argmin(losses)) in (89, 90)


INNER = [
    DLinear(24, 6, kernel_size=5),
    SegMoE(24, 4, 1.5, 1, dim=8, num_heads=2, num_kv_heads=1, hidden_dim=8),
    TimeMoE(dim=8, hidden_dim=8, num_layers=1, num_heads=2, num_experts=2, context_length=24),
]


@pytest.mark.parametrize("inner", INNER, ids=lambda network: type(network).__name__)
def test_a_quantile_head_sits_on_any_network(inner: ForecastNetwork) -> None:
    network = QuantileNetwork(inner, 6, [0.9, 0.1, 0.5])
    past = torch.randn(2, 3, 24)
    quantiles = network.forecast_quantiles(past, 5, [0.1, 0.3, 0.9])
    assert quantiles.shape == (3, 2, 3, 5)
    assert (quantiles.diff(dim=0) > 0).all()
    assert network.forecast(past, 6).shape == (2, 3, 6)
    assert to_config(from_config(to_config(network))) == to_config(network)


def test_a_quantile_head_learns_the_spread_of_noise() -> None:
    torch.manual_seed(0)
    network = QuantileNetwork(DLinear(8, 2, kernel_size=3), 2, [0.1, 0.5, 0.9], hidden_dim=8)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        series = torch.randn(256, 1, 10)
        loss = network.training_loss(series[..., :8], series[..., 8:])
        loss.backward()
        optimizer.step()
    series = torch.randn(4000, 1, 10)
    low, _, high = network.forecast_quantiles(series[..., :8], 2, [0.1, 0.5, 0.9])
    inside = ((series[..., 8:] > low) & (series[..., 8:] < high)).float().mean()
    assert inside == pytest.approx(0.8, abs=0.06)


def test_a_frozen_network_stays_as_it_was() -> None:
    network = QuantileNetwork(DLinear(8, 2, kernel_size=3), 2, frozen=True)
    network.training_loss(torch.randn(2, 1, 8), torch.randn(2, 1, 2)).backward()
    assert all(parameter.grad is None for parameter in network.network.parameters())
    assert network.spread.weight.grad is not None


def test_networks_of_quantiles_and_densities_have_a_loss_of_their_own() -> None:
    past, future, none = torch.randn(2, 1, 8), torch.randn(2, 1, 4), torch.nn.functional.mse_loss
    point = DLinear(8, 4, kernel_size=3)
    assert point.training_loss(past, future, None, none) == none(point(past), future)
    head = QuantileNetwork(point, 4, [0.1, 0.9])
    quantiles = head(past)
    expected = pinball_loss(quantiles, future, [0.1, 0.9])
    assert head.training_loss(past, future, None, none) == expected
    density = MoiraiMoE(patch_sizes=[4], dim=64, hidden_dim=8, num_layers=1, num_experts=2)
    expected = density.negative_log_likelihood(past, future)
    assert density.training_loss(past, future, None, none) == expected


def test_calibration_takes_the_ranks_of_split_conformal_prediction() -> None:
    residuals = torch.arange(1.0, 20.0).view(19, 1, 1)
    calibrated = ConformalResiduals.of(residuals, [0.1, 0.5, 0.9])
    assert calibrated.offsets.flatten().tolist() == [2, 10, 18]
    assert calibrated(torch.zeros(1, 1, 1), [0.3]).item() == pytest.approx(6)
    with pytest.raises(InputError, match="at least 99 calibration windows, got 19"):
        ConformalResiduals.of(residuals, [0.01])


def test_calibrated_intervals_cover_what_they_promise() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 3.0])  # of the two steps
    residuals = torch.randn(500, 1, 2, generator=generator).exp() * scale
    low, high = ConformalResiduals.of(residuals, [0.1, 0.9])(torch.zeros(1, 1, 2), [0.1, 0.9])
    new = torch.randn(4000, 1, 2, generator=generator).exp() * scale
    assert ((new >= low) & (new <= high)).float().mean() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("channels", [None, ["load", "wind"]])
def test_a_calibrated_forecaster_gives_quantiles_and_is_shared(
    tmp_path: Path, channels: list[str] | None
) -> None:
    plain = Forecaster(LastValue(4), channels=channels, frequency="h")
    calibrated = plain.calibrated(frame(), 3)
    future = calibrated.predict(frame(), 3, quantiles=[0.9, 0.1])
    assert list(future.columns) == [
        "load", "wind", "load_q0.1", "wind_q0.1", "load_q0.9", "wind_q0.9"
    ]  # fmt: skip
    assert (future["load_q0.1"] < future["load_q0.9"]).all()
    calibrated.save_pretrained(tmp_path / "model")
    again = Forecaster.from_pretrained(tmp_path / "model")
    pd.testing.assert_frame_equal(again.predict(frame(), 3, quantiles=[0.1, 0.9]), future)
    with pytest.raises(InputError, match="horizon of 3, got 4"):
        calibrated.predict(frame(), 4, quantiles=[0.5])


def test_polars_in_polars_out() -> None:
    forecaster = Forecaster(LastValue(4)).calibrated(frame(), 2)
    pandas = forecaster.predict(frame(), 2, quantiles=[0.2])
    future = forecaster.predict(polars.DataFrame(frame().to_dict("series")), 2, quantiles=[0.2])
    assert isinstance(future, polars.DataFrame)
    assert future.columns == ["date", *pandas.columns]
    assert np.array_equal(future["date"].to_numpy(), pandas.index.to_numpy())
    assert np.allclose(future["load_q0.2"].to_numpy(), pandas["load_q0.2"])


def test_a_network_that_reads_missing_values_gets_them() -> None:
    network = MoiraiMoE(patch_sizes=[4], dim=64, hidden_dim=8, num_layers=1, num_experts=2,
                        num_samples=4, context_length=40)  # fmt: skip
    holed = frame().assign(load=lambda table: table["load"].where(table.index % 3 > 0))
    future = Forecaster(network).predict(holed, 5, quantiles=[0.1, 0.9], missing="fill")
    assert np.isfinite(future.to_numpy()).all()
    filled = Forecaster(network).predict(holed.ffill().bfill(), 5)
    assert not np.allclose(filled["load"], future["load"])


@pytest.mark.parametrize("levels", [[0.0], [1.0], [-0.1], [float("nan")], [], [0.1, 0.1], [10]])
def test_levels_that_cannot_be(levels: list[float]) -> None:
    forecaster = Forecaster(LastValue(4)).calibrated(frame(), 2)
    with pytest.raises(InputError, match="quantile level"):
        forecaster.predict(frame(), 2, quantiles=levels)


def test_quantiles_that_nobody_made() -> None:
    with pytest.raises(InputError, match=r"point forecasts only; calibrate"):
        Forecaster(LastValue(4)).predict(frame(), 2, quantiles=[0.1])
    with pytest.raises(InputError, match=r"from 0\.1 to 0\.9, got 0\.95"):
        Forecaster(QuantileNetwork(DLinear(8, 2), 2)).predict(frame(), 2, quantiles=[0.95])
    with pytest.raises(InputError, match="at least 6 rows"):
        Forecaster(LastValue(4)).calibrated(frame(5), 2)
