"""A network trained on several series: scales by item, sharing, prediction."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from mixtura.core import InputError
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting import ForecastModule
from mixtura.forecasting.forecaster import Forecaster
from mixtura.forecasting.networks import CovariateNetwork, DLinear

SIZES = {"small": 1.0, "large": 1000.0}


def shops(future: int = 4) -> pd.DataFrame:
    """Two weekly rhythms of very different sizes; the last rows are to come."""
    parts = []
    for name, size in SIZES.items():
        rows = 190 if name == "small" else 220
        day = np.arange(rows + future)
        sales = size * (5 + np.sin(2 * np.pi * day / 7))
        sales[rows:] = np.nan
        parts.append(
            pd.DataFrame(
                {
                    "date": pd.date_range("2021-01-01", periods=rows + future, freq="D"),
                    "shop": name,
                    "sales": sales,
                    "offer": (day % 11 == 0) * 1.0,
                    "area": size,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def data(tmp_path: Path) -> LTSFDataModule:
    shops().to_csv(tmp_path / "shops.csv", index=False)
    return LTSFDataModule(
        path=str(tmp_path / "shops.csv"),
        item_column="shop",
        target="sales",
        known_covariates=["offer"],
        static_covariates=["area"],
        look_back=14,
        horizon=4,
        batch_size=16,
    )


def module() -> ForecastModule:
    torch.manual_seed(0)
    network = CovariateNetwork(DLinear(14, 4, kernel_size=5), 2, 4)
    torch.nn.init.normal_(network.correction.weight, std=0.1)
    return ForecastModule(network)


def test_what_predict_writes_is_what_the_shared_model_says(
    data: LTSFDataModule, tmp_path: Path
) -> None:
    trained = module()
    trainer = pl.Trainer(
        default_root_dir=tmp_path, logger=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.predict(trained, data)
    table = pd.read_csv(tmp_path / "forecast.csv")
    assert (tmp_path / "forecast.png").exists()
    assert table["shop"].tolist() == ["small"] * 4 + ["large"] * 4
    trained.shared(data).save_pretrained(tmp_path / "model")
    again = Forecaster.from_pretrained(tmp_path / "model")
    assert again.static_covariates == ["area"]
    found = again.predict(shops(), 4, item_column="shop", quantiles=[0.1, 0.9])
    assert np.allclose(found["sales"], table["sales"], rtol=1e-4)
    assert found["sales"].iloc[4:].min() > 100
    assert (found["sales_q0.1"] <= found["sales_q0.9"]).all()


def test_a_series_that_was_not_trained_on(data: LTSFDataModule) -> None:
    forecaster = module().shared(data)
    other = shops().replace({"large": "new"})
    with pytest.raises(InputError, match=r"shop 'new': .* not trained on, .* items small, large:"):
        forecaster.predict(other, 4, item_column="shop")
    with pytest.raises(InputError, match="a series without a name was not trained on"):
        forecaster.predict(shops()[:194].drop(columns="shop"), 4)
    own = forecaster.predict(other, 4, item_column="shop", unseen="own")
    known = forecaster.predict(shops(), 4, item_column="shop")
    assert np.allclose(own["sales"], known["sales"], rtol=0.05)


def test_gluonts_entries_are_scaled_by_their_item(data: LTSFDataModule) -> None:
    pytest.importorskip("gluonts")
    forecaster = module().shared(data)
    frame = shops()
    known = forecaster.predict(frame, 4, item_column="shop")
    entries = [
        {
            "target": rows["sales"].dropna().to_numpy(),
            "start": pd.Period("2021-01-01", "D"),
            "item_id": name,
            "feat_dynamic_real": rows["offer"].to_numpy()[None],
            "feat_static_real": np.array([SIZES[str(name)]]),
        }
        for name, rows in frame.groupby("shop", sort=False)
    ]
    found = list(forecaster.create_predictor(4).predict(entries))
    assert np.allclose(np.concatenate([one["mean"] for one in found]), known["sales"], rtol=1e-4)


def test_pictures_show_the_first_series(data: LTSFDataModule) -> None:
    from mixtura.forecasting.inspection.page import spaced_windows

    assert int(spaced_windows(data).max()) < len(data.source_of("small", "test"))


def test_items_need_both_scales() -> None:
    with pytest.raises(InputError, match="need the same items"):
        Forecaster(DLinear(14, 4), item_mean={"a": [0.0]})


def test_a_frame_with_a_gap_is_forecast_when_it_is_filled() -> None:
    torch.manual_seed(0)
    whole = shops(future=0)[:60][["date", "sales"]]
    gap = whole.drop(index=[40, 41])
    whole.loc[[40, 41], "sales"] = whole["sales"][39]
    forecaster = Forecaster(DLinear(24, 4), ["sales"])
    with pytest.raises(InputError, match="not regular"):
        forecaster.predict(gap, 4)
    expected = forecaster.predict(whole, 4)
    pd.testing.assert_frame_equal(forecaster.predict(gap, 4, missing="fill"), expected)
    indexed = forecaster.predict(gap.set_index("date"), 4, missing="fill")
    pd.testing.assert_frame_equal(indexed, expected)
