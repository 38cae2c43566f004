"""Distribution heads: likelihood, quantiles and samples of the usual families."""

from contextlib import nullcontext
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from mixtura.core import InputError, from_config, moe_layers, record_routing, to_config
from mixtura.forecasting import (
    DistributionNetwork,
    DLinear,
    Forecaster,
    ForecastNetwork,
    ITransformer,
    MoHETS,
    MoiraiMoE,
    NLinear,
    PatchTST,
    SegMoE,
    TimeMoE,
)
from mixtura.forecasting.networks.density import quantile_of
from mixtura.forecasting.networks.distributions import NegativeBinomial

Family = Literal["student_t", "normal", "negative_binomial"]
FAMILIES: list[Family] = ["student_t", "normal", "negative_binomial"]
SMALL: dict[str, int] = {"dim": 8, "num_heads": 2, "hidden_dim": 8, "num_layers": 1}


def networks() -> list[ForecastNetwork]:
    return [
        DLinear(24, 6, kernel_size=5),
        NLinear(24, 6),
        PatchTST(24, 6, patch_width=8, stride=4, **SMALL),
        ITransformer(24, 6, **SMALL),
        SegMoE(24, 4, 1.5, num_kv_heads=1, **SMALL),
        MoHETS(24, 3, 4, 1.5, num_kv_heads=1, **SMALL),
        TimeMoE(num_experts=2, context_length=24, **SMALL),
    ]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("inner", networks(), ids=lambda network: type(network).__name__)
def test_a_head_sits_on_any_network(inner: ForecastNetwork, family: Family) -> None:
    network = DistributionNetwork(inner, 6, family, hidden_dim=4)
    past = torch.randint(0, 9, (2, 3, 24)).float()
    future = torch.randint(0, 9, (2, 3, 6)).float()
    with record_routing(network) if moe_layers(network) else nullcontext():
        network.training_loss(past, future).backward()
    assert network.spread.weight.grad is not None
    carried = [p.grad is not None for p in network.network.parameters()]
    assert any(carried) == network.network.differentiable
    quantiles = network.forecast_quantiles(past, 5, [0.1, 0.5, 0.9])
    samples = network.forecast_samples(past, 5, 3)
    assert quantiles.shape == samples.shape == (3, 2, 3, 5)
    assert (quantiles.diff(dim=0) >= 0).all()
    assert torch.equal(samples, network.forecast_samples(past, 5, 3))
    assert network.forecast(past, 6).shape == (2, 3, 6)
    assert to_config(from_config(to_config(network))) == to_config(network)
    assert network.training


@pytest.mark.parametrize("level", [0.01, 0.3, 0.5, 0.95])
def test_quantiles_are_those_of_scipy(level: float) -> None:
    df, loc, scale = torch.tensor([3.0, 9.0]), torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0])
    t = torch.distributions.StudentT(df, loc, scale)
    assert np.allclose(quantile_of(t, level), stats.t.ppf(level, df, loc, scale), rtol=1e-5)
    normal = torch.distributions.Normal(loc, scale)
    assert torch.allclose(quantile_of(normal, level), normal.icdf(torch.tensor(level)), rtol=1e-4)
    counts = NegativeBinomial(torch.tensor([2.5]), torch.tensor([1.2]))
    odds = torch.distributions.NegativeBinomial(torch.tensor([2.5]), logits=torch.tensor([1.2]))
    found = quantile_of(counts, level)
    below = odds.log_prob(torch.arange(float(found) + 1)).exp().sum()
    assert below >= level
    assert below - odds.log_prob(found).exp().sum() < level


def test_counts_have_the_mean_that_the_point_forecast_says() -> None:
    network = DistributionNetwork(NLinear(8, 2), 2, "negative_binomial")
    past = torch.randint(5, 40, (3, 1, 8)).float()
    found = network.following(past)
    samples = network.forecast_samples(past, 2, 4000)
    assert torch.allclose(samples.mean(0), found.mean, rtol=0.15)
    assert (samples == samples.round()).all()
    assert torch.equal(network.forecast(past, 2), found.mean)
    assert isinstance(found, NegativeBinomial)
    reference = torch.distributions.NegativeBinomial(found.total_count, logits=found.logits)
    assert torch.allclose(found.log_prob(past[..., :2]), reference.log_prob(past[..., :2]))
    with pytest.raises(InputError, match=r"distribution of counts.*scale: false"):
        network.training_loss(past, torch.tensor([[[-1.0, 2.0]]]).expand(3, 1, 2))


@pytest.mark.parametrize("family", ["student_t", "normal"])
def test_the_spread_of_noise_is_learnt(family: Family) -> None:
    torch.manual_seed(0)
    network = DistributionNetwork(DLinear(8, 2, kernel_size=3), 2, family, hidden_dim=8)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(300):
        optimizer.zero_grad()
        series = 3 * torch.randn(256, 1, 10)
        network.training_loss(series[..., :8], series[..., 8:]).backward()
        optimizer.step()
    series = 3 * torch.randn(4000, 1, 10)
    low, high = network.forecast_quantiles(series[..., :8], 2, [0.1, 0.9])
    inside = ((series[..., 8:] > low) & (series[..., 8:] < high)).float().mean()
    assert inside == pytest.approx(0.8, abs=0.06)


def test_a_forecaster_of_a_distribution_gives_any_quantile() -> None:
    frame = pd.DataFrame({"load": np.sin(np.arange(60.0))})
    forecaster = Forecaster(DistributionNetwork(NLinear(24, 6), 6))
    future = forecaster.predict(frame, 4, quantiles=[0.01, 0.5, 0.999])
    assert list(future.columns) == ["load", "load_q0.01", "load_q0.5", "load_q0.999"]
    assert (future["load_q0.01"] < future["load_q0.999"]).all()


def test_what_cannot_be() -> None:
    with pytest.raises(InputError, match="has a distribution of its own"):
        DistributionNetwork(MoiraiMoE(patch_sizes=[4], dim=64, num_layers=1, num_experts=2), 2)
    with pytest.raises(InputError, match="horizon of 2, got 3"):
        DistributionNetwork(NLinear(8, 2), 3)
    with pytest.raises(InputError, match="at least 1, got 0"):
        DistributionNetwork(NLinear(8, 2), 2).forecast_samples(torch.ones(1, 1, 8), 2, 0)
    with pytest.raises(InputError, match="NLinear draws no samples"):
        NLinear(8, 2).forecast_samples(torch.ones(1, 1, 8), 2, 3)
