"""Covariates beyond the calendar: past, known in the future, static."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
import torch

from mixtura.core import InputError
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting import (
    CovariateNetwork,
    DLinear,
    Forecaster,
    ForecastModule,
    ForecastNetwork,
    ITransformer,
    MoHETS,
    NLinear,
    QuantileNetwork,
    SegMoE,
    TimeMoE,
)

SMALL: dict[str, int] = {"dim": 8, "num_heads": 2, "hidden_dim": 8, "num_layers": 1}
NAMES: dict[str, Any] = {
    "channels": ["load"],
    "covariates": ["wind"],
    "known_covariates": ["price"],
    "static_covariates": ["size"],
}


def frame(rows: int = 40, future: int = 4, **changes: Any) -> pd.DataFrame:
    """A table with `future` rows of which only the known covariate has values."""
    random = np.random.default_rng(0)
    stamps = pd.date_range("2021-01-01", periods=rows + future, freq="h")
    table = pd.DataFrame(random.normal(size=(rows + future, 3)), columns=["load", "wind", "price"])
    table.loc[rows:, ["load", "wind"]] = np.nan
    return table.assign(**{"size": 2.5, "date": stamps, **changes})


def forecaster(network: ForecastNetwork | None = None) -> Forecaster:
    if network is None:
        torch.manual_seed(0)
        network = CovariateNetwork(NLinear(24, 4), 3, 4)
        torch.nn.init.normal_(network.correction.weight)
    return Forecaster(network, **NAMES)


def networks() -> list[ForecastNetwork]:
    torch.manual_seed(0)
    adapted = [
        CovariateNetwork(inner, 3, 4, hidden_dim=4)
        for inner in (
            SegMoE(24, 4, 1.5, num_kv_heads=1, **SMALL),
            TimeMoE(num_experts=2, context_length=24, **SMALL),
            DLinear(24, 4, kernel_size=5),
        )
    ]
    for network in adapted:
        torch.nn.init.normal_(network.correction.weight)
    return [
        MoHETS(24, 1, 4, 1.0, num_kv_heads=1, num_covariates=3, **SMALL),
        ITransformer(24, 4, **SMALL),
        *adapted,
        QuantileNetwork(adapted[2], 4, [0.1, 0.5, 0.9], hidden_dim=4),
    ]


@pytest.mark.parametrize("network", networks(), ids=lambda network: type(network).__name__)
def test_what_happens_beside_the_series_changes_a_forecast(network: ForecastNetwork) -> None:
    model = forecaster(network)
    plain = model.predict(frame(), 4)
    assert plain.shape == (4, 1)
    assert plain.index[0] == pd.Timestamp("2021-01-02 16:00")
    for name in ("wind", "price", "size"):
        other = model.predict(frame().assign(**{name: frame()[name] * 2 + 1}), 4)
        assert not np.allclose(plain, other, atol=1e-6), name


def test_the_future_of_a_known_covariate_counts() -> None:
    after = frame()["price"].where(frame().index < 40, 9.0)
    assert not np.allclose(
        forecaster().predict(frame(), 4), forecaster().predict(frame(price=after), 4), atol=1e-4
    )


def test_before_training_the_correction_is_nothing() -> None:
    inner = TimeMoE(num_experts=2, context_length=24, **SMALL)
    marks, past = torch.randn(2, 3, 28), torch.randn(2, 2, 24)
    network = CovariateNetwork(inner, 3, 4)
    assert torch.equal(network.forecast(past, 4, marks), inner.forecast(past, 4))
    assert network.frozen
    assert not any(p.requires_grad for p in inner.parameters())
    loss = network.training_loss(past, torch.randn(2, 2, 4), marks, torch.nn.functional.mse_loss)
    loss.backward()
    assert network.correction.weight.grad is not None


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_the_future_may_come_apart(kind: str) -> None:
    table = frame()
    future = table[table["load"].isna()][["date", "price"]]
    past = table[table["load"].notna()]
    expected = forecaster().predict(table, 4)
    if kind == "polars":
        found = forecaster().predict(
            polars.DataFrame(past.to_dict("list")),
            4,
            future=polars.DataFrame(future.to_dict("list")),
        )
        assert np.allclose(found["load"].to_numpy(), expected["load"])
    else:
        pd.testing.assert_frame_equal(forecaster().predict(past, 4, future=future), expected)
        both = [each.set_index("date") for each in (past, future)]
        found = forecaster().predict(both[0], 4, future=both[1])
        pd.testing.assert_frame_equal(found, expected)


def test_several_series_below_each_other() -> None:
    small, large = frame(), frame(rows=50, size=7.0)
    table = pd.concat([small.assign(shop="a"), large.assign(shop="b")], ignore_index=True)
    found = forecaster().predict(table, 4, item_column="shop")
    assert list(found.columns) == ["shop", "load"]
    for name, alone in (("a", small), ("b", large)):
        one = found[found["shop"] == name].drop(columns="shop")
        pd.testing.assert_frame_equal(one, forecaster().predict(alone, 4))
    in_polars = forecaster().predict(
        polars.DataFrame(table.to_dict("list")), 4, item_column="shop", quantiles=None
    )
    assert in_polars["shop"].to_list() == ["a"] * 4 + ["b"] * 4


def test_calibration_looks_at_covariates_too() -> None:
    calibrated = forecaster().calibrated(frame(rows=120, future=0), 4, levels=[0.2, 0.8])
    found = calibrated.predict(frame(), 4, quantiles=[0.2, 0.8])
    assert (found["load_q0.2"] < found["load_q0.8"]).all()


def test_a_file_with_covariates_is_trained_on_and_shared(tmp_path: Path) -> None:
    table = frame(rows=400, future=12)
    table.to_csv(tmp_path / "own.csv", index=False)
    data = LTSFDataModule(
        path=str(tmp_path / "own.csv"),
        target="load",
        covariates=["wind"],
        known_covariates=["price"],
        look_back=24,
        horizon=4,
        batch_size=8,
    )
    network = CovariateNetwork(DLinear(24, 4, kernel_size=5), 6, 4)
    torch.nn.init.normal_(network.correction.weight)
    module = ForecastModule(network, calendar=True)
    batch = next(iter(data.train_dataloader()))
    _, _, marks = module.windows(batch)
    assert marks is not None
    assert marks.shape == (8, 4 + 2, 28)
    assert (marks[:, 4, 24:] == marks[:, 4, 23:24]).all()  # of the past covariate nobody knows more
    assert torch.equal(marks[:, 5, 24:], batch.future_covariates[..., 0])
    assert torch.isfinite(module.task_loss(batch)[0])
    (last,) = data.predict_dataloader()
    expected = data.scaler.inverse(module.predict_step(last, 0)[0].double().numpy())
    module.shared(data).save_pretrained(tmp_path / "model")
    again = Forecaster.from_pretrained(tmp_path / "model")
    assert again.covariate_names == ["wind", "price"]
    assert np.allclose(again.predict(table, 4), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (frame(future=3), "a forecast of 4 steps needs price for the 4 rows .* found 3"),
        (frame(future=0), "found 0; add their future"),
        (frame().drop(columns="price"), "no column 'price'"),
        (frame().assign(size=np.arange(44.0)), "static covariate 'size' changes within a series"),
        (frame().assign(wind=np.nan), "column 'wind' holds no number at all"),
        (
            frame().assign(wind=frame()["wind"].where(frame().index != 5)),
            "'wind' is empty .* row 5",
        ),
        (frame().assign(date="soon"), "should hold dates"),
    ],
)
def test_covariates_that_are_missing(table: pd.DataFrame, words: str) -> None:
    with pytest.raises(InputError, match=words):
        forecaster().predict(table, 4)


def test_items_that_are_missing() -> None:
    table = frame().assign(shop="a")
    future = frame()[["date", "price"]][40:].assign(shop="b")
    with pytest.raises(InputError, match="item 'b', of which the frame has no past"):
        forecaster().predict(table[:40], 4, future=future, item_column="shop")
    with pytest.raises(InputError, match="no column 'shp' of items; did you mean shop"):
        forecaster().predict(table, 4, item_column="shp")
    with pytest.raises(InputError, match=r"shop 'a': .* found 3"):
        forecaster().predict(table[:43], 4, item_column="shop")
    with pytest.raises(InputError, match="does not name the item of every row"):
        forecaster().predict(table.assign(shop=None), 4, item_column="shop")


def test_networks_that_look_at_no_covariates_refuse_them() -> None:
    with pytest.raises(InputError, match=r"NLinear does not look at wind, price, size; .* Covari"):
        Forecaster(NLinear(24, 4), **NAMES)
    with pytest.raises(InputError, match="DLinear does not look at the calendar"):
        ForecastModule(DLinear(24, 4), calendar=True)
    with pytest.raises(InputError, match="looks at 3 covariates, got 2"):
        forecaster().network.forecast(torch.ones(1, 1, 24), 4, torch.ones(1, 2, 28))
    with pytest.raises(InputError, match="looks at 3 covariates, got none"):
        forecaster().network.forecast(torch.ones(1, 1, 24), 4)
    with pytest.raises(InputError, match="one number for each of the 3 covariates, got 1"):
        Forecaster(CovariateNetwork(NLinear(24, 4), 3, 4), covariate_mean=[1.0], **NAMES)


def test_the_effect_of_a_known_covariate_is_learnt() -> None:
    torch.manual_seed(0)
    network = CovariateNetwork(NLinear(12, 3), 1, 3, hidden_dim=8)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    losses = []
    for _ in range(300):
        marks = torch.randn(128, 1, 15)
        series = 2 * marks + 0.1 * torch.randn(128, 1, 15)
        optimizer.zero_grad()
        loss = network.training_loss(
            series[..., :12], series[..., 12:], marks, torch.nn.functional.mse_loss
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 4  # the series' own past says nothing of its future
    assert sum(losses[-20:]) / 20 < 0.4


@pytest.mark.parametrize("network", networks(), ids=lambda network: type(network).__name__)
@pytest.mark.parametrize("training", [True, False])
def test_a_forecast_changes_neither_its_inputs_nor_the_mode(
    network: ForecastNetwork, training: bool
) -> None:
    past, marks = torch.randn(2, 1, 24), torch.randn(2, 3, 28)
    before = past.clone(), marks.clone()
    network.train(training)
    once = network.forecast(past, 4, marks)
    assert torch.equal(once, network.forecast(past, 4, marks))
    assert (torch.equal(past, before[0]), torch.equal(marks, before[1])) == (True, True)
    assert network.training == training
