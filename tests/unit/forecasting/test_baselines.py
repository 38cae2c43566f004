"""The dense and the naive baselines."""

import pytest
import torch

from mixtura.core import InputError, from_config, to_config
from mixtura.forecasting.networks import (
    DLinear,
    ForecastNetwork,
    ITransformer,
    LastValue,
    NLinear,
    PatchTST,
    SeasonalNaive,
)
from mixtura.forecasting.networks.dlinear import moving_average

NETWORKS = [
    DLinear(32, 8, kernel_size=5),
    DLinear(32, 8, kernel_size=5, num_variates=3, init="default"),
    NLinear(32, 8),
    PatchTST(32, 8, patch_width=8, stride=4, num_layers=1, dim=8, num_heads=2, hidden_dim=16),
    ITransformer(32, 8, num_layers=1, dim=8, num_heads=2, hidden_dim=16),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_direct_networks_forecast_up_to_their_horizon(network: ForecastNetwork) -> None:
    x = torch.randn(2, 3, 40)
    assert network.forecast(x, 5).shape == (2, 3, 5)
    assert torch.equal(network.forecast(x, 8), network.forecast(x[..., -32:], 8))
    with pytest.raises(InputError, match="horizon of 8, got 9"):
        network.forecast(x, 9)
    with pytest.raises(InputError, match="look-back of 32 points, got 31"):
        network.forecast(x[..., :31], 8)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_every_parameter_of_a_direct_network_learns(network: ForecastNetwork) -> None:
    prediction, target = network.supervise(torch.randn(2, 3, 32), torch.randn(2, 3, 8))
    (prediction - target).square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert to_config(from_config(to_config(network))) == to_config(network)


def test_a_moving_average_keeps_a_constant_and_the_middle_of_a_line() -> None:
    line = torch.arange(9.0).view(1, 1, 9)
    smooth = moving_average(line, 3)
    assert torch.allclose(smooth[..., 1:-1], line[..., 1:-1])
    assert smooth[0, 0, 0] == pytest.approx(1 / 3)


def test_dlinear_begins_as_the_mean_of_the_window() -> None:
    network = DLinear(16, 4, kernel_size=3)
    torch.nn.init.zeros_(network.seasonal.bias)
    torch.nn.init.zeros_(network.trend.bias)
    x = torch.randn(1, 2, 16)
    assert torch.allclose(network(x), x.mean(-1, keepdim=True).expand(1, 2, 4), atol=1e-6)


def test_the_calendar_changes_a_forecast_of_itransformer() -> None:
    network, x = NETWORKS[-1], torch.randn(2, 3, 32)
    marks = torch.rand(2, 4, 40) - 0.5
    assert not torch.equal(network.forecast(x, 8, marks), network.forecast(x, 8))


def test_naive_forecasts_repeat() -> None:
    x = torch.arange(6.0).view(1, 1, 6)
    assert LastValue().forecast(x, 3).flatten().tolist() == [5, 5, 5]
    assert SeasonalNaive(period=4).forecast(x, 6).flatten().tolist() == [2, 3, 4, 5, 2, 3]
    assert SeasonalNaive(period=8).forecast(x, 2).flatten().tolist() == [5, 5]
