"""gluonts predictors of every network."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.dataset.common import ListDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
from gluonts.model import evaluate_model
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor
from gluonts.transform import AddObservedValuesIndicator, SetField

from mixtura.core import InputError
from mixtura.datasets import load_series
from mixtura.forecasting import (
    CovariateNetwork,
    DistributionNetwork,
    DLinear,
    Forecaster,
    ForecastNetwork,
    ITransformer,
    LastValue,
    MoHETS,
    MoiraiMoE,
    NLinear,
    PatchTST,
    QuantileNetwork,
    SeasonalNaive,
    SegMoE,
    TimeMoE,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gluonts"),
    pytest.mark.filterwarnings("ignore:isinstance.obj, DateOffset. is deprecated"),
]

HORIZON, LEVELS = 12, [0.1, 0.5, 0.9]
SMALL: dict[str, Any] = {"dim": 8, "num_heads": 2, "hidden_dim": 8, "num_layers": 1}


def networks() -> list[ForecastNetwork]:
    torch.manual_seed(0)
    return [
        LastValue(),
        SeasonalNaive(24),
        DLinear(48, HORIZON),
        NLinear(48, HORIZON),
        PatchTST(48, HORIZON, **SMALL),
        ITransformer(48, HORIZON, **SMALL),
        SegMoE(48, 8, 1.5, 1, dim=8, num_heads=2, num_kv_heads=1, hidden_dim=8),
        MoHETS(48, 7, 8, 1.5, 1, dim=8, num_heads=2, num_kv_heads=1, hidden_dim=8),
        TimeMoE(num_experts=2, context_length=64, **SMALL),
        MoiraiMoE(64, [8], dim=64, hidden_dim=8, num_layers=1, num_experts=2, num_samples=8),
        QuantileNetwork(DLinear(48, HORIZON), HORIZON, LEVELS, hidden_dim=4),
        DistributionNetwork(NLinear(48, HORIZON), HORIZON, hidden_dim=4),
    ]


def entries(multivariate: bool) -> list[dict[str, Any]]:
    """Parts of ETTh1 of several lengths, with holes at the beginning, inside and at the end."""
    values = load_series("ETTh1").values[:400].T.astype(np.float32)
    made = []
    for number, (row, length) in enumerate([(6, 400), (0, 110), (3, 40), (5, 67)]):
        target = np.array(values[:, -length:] if multivariate else values[row, -length:])
        target[..., 7:9] = np.nan
        target[..., : number * 3] = np.nan
        target[..., -HORIZON - 2 - number : -HORIZON] = np.nan
        start = pd.Period("2016-07-01 00:00", freq="h") + (400 - length)
        made.append({"target": target, "start": start, "item_id": f"part {number}"})
    return made


def scores(predictor: Predictor, multivariate: bool) -> pd.DataFrame:
    data = ListDataset(entries(multivariate), freq="h", one_dim_target=not multivariate)
    _, template = split(data, offset=-HORIZON)
    return evaluate_model(
        predictor,
        test_data=template.generate_instances(HORIZON, windows=1),
        metrics=[MASE(), MeanWeightedSumQuantileLoss(LEVELS)],
        axis=None,
    )


@pytest.mark.parametrize("multivariate", [False, True], ids=["one variate", "seven variates"])
@pytest.mark.parametrize("network", networks(), ids=lambda network: type(network).__name__)
def test_every_network_can_be_evaluated(
    network: ForecastNetwork, multivariate: bool, tmp_path: Path
) -> None:
    predictor = network.create_predictor(HORIZON, None, 3, "cpu", quantile_levels=LEVELS)
    table = scores(predictor, multivariate)
    assert np.isfinite(table.to_numpy(dtype=float)).all(), table
    predictor.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    data = ListDataset(entries(multivariate), freq="h", one_dim_target=not multivariate)
    for one, other in zip(predictor.predict(data), again.predict(data), strict=True):
        assert np.array_equal(one.forecast_array, other.forecast_array)
        assert one.start_date == other.start_date
        assert one.item_id == other.item_id
        assert (one["0.1"] <= one["0.9"]).all()


def test_the_last_value_is_scored_as_by_hand() -> None:
    target = np.arange(60.0)
    (forecast,) = (
        LastValue(8)
        .create_predictor(3, quantile_levels=[0.2, 0.8])
        .predict([{"target": target, "start": pd.Period("2020-01-01 00:00", freq="h")}])
    )
    assert forecast.start_date == pd.Period("2020-01-03 12:00", freq="h")
    assert np.allclose(forecast.mean, 59)
    assert np.allclose(forecast["0.5"], 59)
    errors = np.tile([1.0, 2.0, 3.0], 3)  # of the last three forecasts of the past
    assert np.allclose(forecast["0.8"], 59 + np.quantile(errors, 0.8))


def test_batches_do_not_change_forecasts() -> None:
    network = SegMoE(48, 8, 1.5, 1, dim=8, num_heads=2, num_kv_heads=1, hidden_dim=8)
    one, four = (
        [
            f.forecast_array
            for f in network.create_predictor(5, batch_size=size).predict(entries(False))
        ]
        for size in (1, 4)
    )
    for alone, together in zip(one, four, strict=True):
        assert np.allclose(alone, together, atol=1e-5)


def test_a_forecaster_brings_its_scale_and_calibration() -> None:
    rows = pd.DataFrame({"load": np.sin(np.arange(200.0)) * 5 + 100})
    forecaster = Forecaster(LastValue(4), channels=["load"], mean=[100.0], scale=[5.0])
    predictor = forecaster.calibrated(rows, 3).create_predictor(3, quantile_levels=[0.1, 0.9])
    entry = {"target": rows["load"].to_numpy(), "start": pd.Period("2020-01-01", freq="D")}
    (forecast,) = predictor.predict([entry])
    expected = forecaster.calibrated(rows, 3).predict(rows, 3, quantiles=[0.1])["load_q0.1"]
    assert np.allclose(forecast["0.1"], expected, atol=1e-4)
    with pytest.raises(InputError, match="1 columns, the entry has 2"):
        list(predictor.predict([{**entry, "target": np.ones((2, 9))}]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"prediction_length": 13}, "horizon of 12, got 13"),
        ({"prediction_length": 0}, "at least 1"),
        ({"context_length": 20}, "48 to 48 points, got context_length 20"),
        ({"quantile_levels": [1.5]}, "between 0 and 1"),
        ({"batch_size": 0}, "batch_size"),
        ({"device": "cuda:77"}, "no device 'cuda:77'"),
    ],
)
def test_predictors_that_cannot_be(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DLinear(48, HORIZON).create_predictor(**{"prediction_length": HORIZON, **arguments})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": np.full(30, np.nan)}, "holds no number at all"),
        ({"start": pd.Period("2020-01-01", freq="D")}, "step 'h', the entry has 'D'"),
    ],
)
def test_entries_that_cannot_be_forecast(changes: dict[str, Any], words: str) -> None:
    predictor = Forecaster(LastValue(4), frequency="h").create_predictor(3)
    entry = {"target": np.ones(30), "start": pd.Period("2020-01-01 00:00", freq="h")}
    with pytest.raises(InputError, match=words):
        list(predictor.predict([{**entry, **changes}]))


def with_covariates() -> Forecaster:
    """A forecaster that looks at the calendar and at a past, a known and a static covariate."""
    torch.manual_seed(0)
    network = CovariateNetwork(NLinear(24, 3), 7, 3)
    torch.nn.init.normal_(network.correction.weight)
    return Forecaster(
        network,
        frequency="h",
        calendar=True,
        covariates=["wind"],
        known_covariates=["price"],
        static_covariates=["size"],
        covariate_mean=[1.0, 2.0, 0.0],
        covariate_scale=[2.0, 1.0, 1.0],
    )


def with_fields(rows: int = 60) -> tuple[dict[str, Any], pd.DataFrame]:
    """The same series as an entry and as a frame with three rows of the future."""
    random = np.random.default_rng(0)
    stamps = pd.date_range("2020-01-01", periods=rows + 3, freq="h")
    frame = pd.DataFrame(random.normal(size=(rows + 3, 3)), stamps, ["load", "wind", "price"])
    entry = {
        "target": frame["load"].to_numpy()[:rows],
        "start": pd.Period("2020-01-01 00:00", freq="h"),
        "past_feat_dynamic_real": frame[["wind"]].to_numpy()[:rows].T,
        "feat_dynamic_real": frame[["price"]].to_numpy().T,
        "feat_static_real": np.array([0.7]),
    }
    frame.loc[stamps[rows:], ["load", "wind"]] = np.nan
    return entry, frame.assign(size=0.7)


@pytest.mark.parametrize("rows", [60, 20])
def test_entries_bring_their_covariates(rows: int) -> None:
    forecaster = with_covariates()
    entry, frame = with_fields(rows)
    (found,) = forecaster.create_predictor(3).predict([entry])
    if rows == 60:
        window = frame["load"].to_numpy()[36:60]
        scaled = Forecaster(
            forecaster.network,
            mean=[window.mean()],
            scale=[window.std()],
            **{
                name: getattr(forecaster, name)
                for name in (
                    "frequency", "calendar", "covariates", "known_covariates",
                    "static_covariates", "covariate_mean", "covariate_scale",
                )
            },
        )  # fmt: skip
        assert np.allclose(found.mean, scaled.predict(frame, 3)["load"], atol=1e-5)
    for field in ("past_feat_dynamic_real", "feat_dynamic_real", "feat_static_real"):
        changed = {**entry, field: entry[field] + 1.0}
        (other,) = forecaster.create_predictor(3).predict([changed])
        assert not np.allclose(found.mean, other.mean, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"feat_dynamic_real": np.zeros((1, 60))}, "feat_dynamic_real must have 63 points, got 60"),
        ({"feat_dynamic_real": None}, "1 features of feat_dynamic_real, got none"),
        ({"feat_static_real": np.zeros(2)}, "1 features of feat_static_real, got 2"),
        ({"past_feat_dynamic_real": np.full((1, 60), np.nan)}, "holds a cell that is no number"),
    ],
)
def test_covariates_that_are_missing(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(with_covariates().create_predictor(3).predict([{**with_fields()[0], **changes}]))


def test_samples_come_as_sample_forecasts() -> None:
    network = DistributionNetwork(NLinear(24, 3), 3)
    predictor = network.create_predictor(3, num_samples=7)
    for shape in ((60,), (2, 60)):
        target = np.random.default_rng(0).normal(size=shape)
        entry = {"target": target, "start": pd.Period("2020-01-01 00:00", freq="h")}
        (found,) = predictor.predict([entry])
        assert isinstance(found, SampleForecast)
        assert found.samples.shape == (7, 3, *shape[:-1])
    with pytest.raises(InputError, match="draws no samples"):
        NLinear(24, 3).create_predictor(3, num_samples=7)
    with pytest.raises(InputError, match="excludes quantile_levels"):
        network.create_predictor(3, num_samples=7, quantile_levels=[0.1])


def test_a_predictor_takes_the_output_of_a_gluonts_pipeline() -> None:
    chain = AddObservedValuesIndicator("target", "observed") + SetField("source", "a test")
    entry = {"target": np.r_[np.nan, np.arange(30.0)], "start": pd.Period("2020-01-01", freq="D")}
    predictor = LastValue(4).create_predictor(2)
    (found,) = predictor.predict(chain(ListDataset([entry], freq="D"), is_train=False))
    assert np.allclose(found.mean, 29)


def test_a_constant_series_is_forecast_by_its_value() -> None:
    entry = {"target": np.full(90, 7.0), "start": pd.Period("2020-01-01 00:00", freq="h")}
    for network in (DLinear(48, 5), NLinear(48, 5), SeasonalNaive(24)):
        torch.nn.Module.requires_grad_(network, False)
        for parameter in network.parameters():
            parameter.zero_()
        (forecast,) = network.create_predictor(5, quantile_levels=LEVELS).predict([entry])
        assert np.allclose(forecast.forecast_array, 7.0)
