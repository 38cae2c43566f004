"""The dense and the naive baselines."""

import pytest
import torch
from torch.nn import functional as F

from mixtura.core import InputError, from_config, to_config
from mixtura.forecasting.checkpoints import (
    dlinear_rules,
    load_into,
    nlinear_rules,
    patchtst_rules,
    save_state,
)
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
from mixtura.forecasting.networks.post_norm_encoder import PostNormEncoderLayer

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


@pytest.mark.parametrize("count", [1, 3])
def test_maps_of_their_own_for_each_variate_have_the_names_of_a_list(count: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, count, 16)
    trend = torch.stack(
        [F.pad(x, (2, 2), mode="replicate")[..., i : i + 5].mean(-1) for i in range(16)], -1
    )
    dlinear, nlinear = DLinear(16, 4, 5, num_variates=count), NLinear(16, 4, num_variates=count)
    state = save_state(dlinear_rules(dlinear), dlinear.state_dict())
    state |= save_state(nlinear_rules(nlinear), nlinear.state_dict())

    def applied(name: str, variate: int, rows: torch.Tensor) -> torch.Tensor:
        return rows @ state[f"{name}.{variate}.weight"].T + state[f"{name}.{variate}.bias"]

    for variate in range(count):
        rows, smooth = x[:, variate], trend[:, variate]
        expected = applied("Linear_Seasonal", variate, rows - smooth)
        expected = expected + applied("Linear_Trend", variate, smooth)
        assert torch.allclose(dlinear(x)[:, variate], expected, atol=1e-6)
        expected = applied("Linear", variate, rows - rows[:, -1:]) + rows[:, -1:]
        assert torch.allclose(nlinear(x)[:, variate], expected, atol=1e-6)


def test_shared_maps_have_the_names_of_one_module() -> None:
    names = {name for rule in dlinear_rules(DLinear(16, 4)) for name in rule.theirs}
    assert "Linear_Trend.weight" in names
    (weight, bias) = nlinear_rules(NLinear(16, 4))
    assert (weight.theirs, bias.theirs) == (("Linear.weight",), ("Linear.bias",))


def test_the_encoders_activation_can_be_the_rectifier() -> None:
    torch.manual_seed(0)
    layer = PostNormEncoderLayer(8, 2, 12, activation="relu")
    x = torch.randn(2, 5, 8)
    h = F.layer_norm(x + layer.attention(x), (8,))
    expected = F.layer_norm(h + layer.down(layer.up(h).clamp_min(0)), (8,))
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_the_encoder_of_patchtst_s_authors() -> None:
    """Scores add up from layer to layer; positions are learnt; features are batch-normalised."""
    torch.manual_seed(0)
    network, other = (
        PatchTST(24, 4, 8, 4, 3, dim=8, num_heads=2, hidden_dim=12, dropout=0.0, encoder="authors")
        for _ in range(2)
    )
    state = save_state(patchtst_rules(network), network.state_dict())
    x = torch.randn(5, 2, 24)

    def linear(rows: torch.Tensor, name: str) -> torch.Tensor:
        return rows @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def batch_norm(rows: torch.Tensor) -> torch.Tensor:
        spread = rows.var((0, 1), unbiased=False)
        return (rows - rows.mean((0, 1))) / (spread + 1e-5).sqrt()

    mean, scale = x.mean(-1, keepdim=True), (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    series = ((x - mean) / scale).flatten(0, 1)
    series = torch.cat((series, series[:, -1:].expand(-1, 4)), 1)
    patches = torch.stack([series[:, i : i + 8] for i in range(0, 24, 4)], 1)
    tokens = linear(patches, "model.backbone.W_P") + state["model.backbone.W_pos"]
    scores = torch.zeros(())
    for layer in range(3):
        start = f"model.backbone.encoder.layers.{layer}"
        q, k, v = (
            linear(tokens, f"{start}.self_attn.W_{name}").view(10, 6, 2, 4).transpose(1, 2)
            for name in "QKV"
        )
        scores = scores + q @ k.mT * state[f"{start}.self_attn.sdp_attn.scale"]
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(10, 6, 8)
        tokens = batch_norm(tokens + linear(mixed, f"{start}.self_attn.to_out.0"))
        hidden = F.gelu(linear(tokens, f"{start}.ff.0"))
        tokens = batch_norm(tokens + linear(hidden, f"{start}.ff.3"))
    y = linear(tokens.mT.flatten(1), "model.head.linear").view(5, 2, 4)
    assert torch.allclose(network.train()(x), y * scale + mean, atol=1e-5)
    load_into(
        other, patchtst_rules(other), save_state(patchtst_rules(network), network.state_dict())
    )
    assert torch.equal(other.eval()(x), network.eval()(x))


def test_the_authors_encoder_has_one_activation() -> None:
    with pytest.raises(InputError, match="'gelu', got 'relu'"):
        PatchTST(24, 4, patch_width=8, stride=4, encoder="authors", activation="relu")
