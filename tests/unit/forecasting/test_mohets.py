"""MoHETS: its options, its covariates, its Fourier experts."""

import pytest
import torch

from mixtura.core import InputError, from_config, record_routing, to_config
from mixtura.forecasting.networks import MoHETS
from mixtura.forecasting.networks.fourier import FourierExperts, FourierFeedForward

TINY = {
    "context_length": 48,
    "num_variates": 3,
    "patch_width": 8,
    "num_layers": 2,
    "dim": 16,
    "num_heads": 2,
    "num_kv_heads": 1,
    "hidden_dim": 24,
    "num_experts": 4,
    "dropout": 0.0,
    "drop_path": 0.0,
}


def tiny(**options: object) -> MoHETS:
    torch.manual_seed(0)
    return MoHETS(**{**TINY, **options})


def series(length: int = 48, variates: int = 3) -> torch.Tensor:
    return torch.randn(2, variates, length, generator=torch.Generator().manual_seed(1))


def marks(features: int = 5, length: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.rand(2, features, length, generator=generator) - 0.5


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"glu": True, "bias": True},
        {"experts": "mlp", "top_k": 1},
        {"experts": ["fan", "mlp", "fan", "mlp"]},
        {"shared_expert": "fan", "embedding_norm": "rms"},
        {"shared_expert": "conv", "unpatch": "linear"},
        {"covariates": False, "causal": True},
        {"head": "fan", "rope_theta": 0.0},
        {"head": "fan_layer", "bias": True},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_every_option_trains_and_forecasts(options: dict[str, object]) -> None:
    network = tiny(**options)
    both = marks(length=48 + network.target_length)
    with record_routing(network) as record:
        prediction, target = network.supervise(series(), series(network.target_length), both)
    loss = (prediction - target).square().mean() + sum(record.losses().values())
    loss.backward()
    forecast = network.forecast(series(), 30, marks(length=78))
    assert forecast.shape == (2, 3, 30)
    assert forecast.isfinite().all()
    assert to_config(from_config(to_config(network))) == to_config(network)


def test_the_small_model_has_the_published_number_of_parameters() -> None:
    network = MoHETS(num_variates=21)
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_535_200


def test_hourly_marks_are_daily_ones_with_a_constant_minute() -> None:
    network, x, four = tiny().eval(), series(), marks(4)
    five = torch.cat((torch.full((2, 1, 48), -0.5), four), 1)
    assert torch.equal(network(x, four), network(x, five))
    assert not torch.equal(network(x, four), network(x))


def test_future_marks_after_the_last_pass_do_not_matter() -> None:
    network, x, both = tiny(), series(), marks(length=78)
    changed = both.clone()
    changed[..., 48 + 24 :] = 9.0
    assert torch.equal(network.forecast(x, 30, both), network.forecast(x, 30, changed))


def test_stacked_fourier_experts_are_the_single_ones() -> None:
    torch.manual_seed(0)
    bank = FourierExperts(3, 8, 12, glu=True)
    single = FourierFeedForward(8, 12, glu=True)
    with torch.no_grad():
        for name, waves in (("up", 3), ("gate", 3), ("down", 2)):
            layer, rows = getattr(single, name), getattr(bank, name)[1]
            layer.wave.weight.copy_(rows[:waves])
            layer.rest.weight.copy_(rows[waves:])
    x = torch.randn(5, 8)
    assert torch.allclose(bank.one(1, x), single(x), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top_k": 5}, "top_k must be between 1 and num_experts"),
        ({"hidden_dim": 18}, "divisible by 4"),
        ({"experts": ["fan"]}, "list of 4"),
        ({"context_length": 50}, "multiple of patch_width"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tiny(**options)


def test_other_covariates_or_variates_are_refused() -> None:
    with pytest.raises(InputError, match="looks at 5 covariates, got 3"):
        tiny()(series(), marks(3))
    with pytest.raises(InputError, match="takes 3 variates, got 2"):
        tiny()(series(variates=2), marks())


def test_a_causal_model_predicts_one_patch_at_a_time() -> None:
    assert tiny(causal=True, width_factor=3.0).step == 8
    assert tiny(width_factor=3.0).step == 24


def test_without_rotation_sinusoids_are_added_to_the_tokens() -> None:
    network = tiny(rope_theta=0.0).eval()
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(series())
    x = series().flatten(0, 1)
    scaled = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    added = (seen[0] - network.embedding(scaled))[0]
    assert torch.allclose(added[:, 0], torch.arange(6.0).sin(), atol=1e-5)
    assert torch.allclose(added[:, 1], torch.arange(6.0).cos(), atol=1e-5)
