"""Time-MoE: schedules, cache, padding, losses, released names."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from mixtura.core import InputError, record_routing
from mixtura.forecasting.checkpoints import (
    load_time_moe,
    save_time_moe,
    time_moe_arguments,
    time_moe_rules,
)
from mixtura.forecasting.horizon_losses import horizon_loss
from mixtura.forecasting.networks import TimeMoE
from mixtura.forecasting.networks.schedule import head_schedule

CONFIG = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "horizon_lengths": [1, 4],
    "use_dense": False,
    "apply_aux_loss": True,
}


def tiny(**options: object) -> TimeMoE:
    torch.manual_seed(0)
    sizes = {"dim": 16, "hidden_dim": 24, "num_layers": 2, "num_heads": 4, "num_experts": 4}
    network = TimeMoE(**{**sizes, "horizons": [1, 4], "init_std": 0.3, **options})
    return network.eval()


def series(length: int = 12) -> torch.Tensor:
    return torch.randn(3, length, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("horizon", "schedule"),
    [
        (96, [64, 32]),
        (192, [64] * 3),
        (336, [64] * 5 + [8, 8]),
        (720, [64] * 11 + [8, 8]),
        (107, [64, 32, 8, 1, 1, 1]),
        (6, [1] * 6),
    ],
)
def test_the_greedy_schedule(horizon: int, schedule: list[int]) -> None:
    assert head_schedule(horizon, [1, 8, 32, 64]) == schedule


def test_overshooting_takes_one_larger_head_for_the_rest() -> None:
    assert head_schedule(6, [1, 8, 32, 64], overshoot=True) == [8]
    assert head_schedule(100, [1, 8, 32, 64], overshoot=True) == [64, 64]


def test_without_a_head_for_one_point_the_smallest_is_cut_off() -> None:
    assert head_schedule(21, [4, 16]) == [16, 4, 4]
    network, x = tiny(horizons=[4, 16]), series()
    whole = network.generate(x, 24)
    assert torch.equal(network.generate(x, 21), whole[:, :21])
    assert torch.allclose(network.generate(x, 3), network(x)[4][:, -1, :3], atol=1e-5)


def test_the_activation_is_that_of_every_gate() -> None:
    network, x = tiny(activation="gelu", num_layers=1, dense=True), series()
    tokens = network.embedding(x)
    gate, embed = (network.embedding.get_parameter(f"{n}.weight")[:, 0] for n in ("gate", "embed"))
    assert torch.allclose(tokens, F.gelu(x[..., None] * gate) * (x[..., None] * embed))
    layer = network.blocks[0].mixture
    expected = layer.down(F.gelu(layer.up(tokens)) * layer.gate(tokens))
    assert torch.allclose(layer(tokens), expected, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(layer(tokens), expected, atol=1e-6)
    mixed = tiny(activation="gelu").blocks[0].mixture
    assert mixed.experts.activation is F.gelu
    assert time_moe_arguments(CONFIG | {"hidden_act": "gelu_new"})["activation"] == "gelu_tanh"
    with pytest.raises(InputError, match="hidden_act must be one of silu"):
        time_moe_arguments(CONFIG | {"hidden_act": "swoosh"})


@pytest.mark.parametrize("options", [{}, {"num_kv_heads": 2, "top_k": 1}, {"dense": True}], ids=str)
def test_a_cache_changes_nothing_but_the_work(options: dict[str, object]) -> None:
    network, x = tiny(**options), series()
    cached = network.generate(x, 11)
    assert torch.allclose(cached, network.generate(x, 11, use_cache=False), atol=1e-5)
    assert torch.equal(x, series())


def test_left_padding_changes_nothing() -> None:
    network, x = tiny(), series()
    padded = torch.cat((torch.full((3, 5), 7.0), x), 1)
    mask = torch.arange(17) >= 5
    y = network.generate(padded, 7, mask=mask.expand(3, -1))
    assert torch.allclose(y, network.generate(x, 7), atol=1e-5)


def test_a_window_of_another_scale_gives_a_forecast_of_that_scale() -> None:
    network, x = tiny(context_norm="window"), series()[:, None]
    y = network.forecast(x, 6)
    assert torch.allclose(network.forecast(100 * x + 5, 6), 100 * y + 5, rtol=1e-3, atol=1e-2)


def test_balanced_routers_give_k() -> None:
    network = tiny()
    for block in network.blocks:
        torch.nn.init.zeros_(block.mixture.router.score_function.weight)
    with record_routing(network) as record:
        network(series())
    (term,) = record.losses().values()
    assert term.item() == pytest.approx(0.02 * 2, abs=1e-6)


def test_without_a_mask_only_real_labels_count() -> None:
    prediction, labels = torch.zeros(1, 3, 2), torch.tensor([[1.0, 2.0, 1.0]])
    errors = [0.5, 2.0, 2.0, 0.5, 0.5]  # Huber of 1, 2 | 2, 1 | 1
    assert horizon_loss(prediction, labels).item() == pytest.approx(sum(errors) / 5)
    tail = horizon_loss(prediction, labels, compat_unmasked_tail=True)
    assert tail.item() == pytest.approx(sum(errors) / 6)


def test_the_released_model_has_its_size_and_its_names() -> None:
    with torch.device("meta"):
        network = TimeMoE()
    assert sum(parameter.numel() for parameter in network.parameters()) == 113_352_192
    names = {name for rule in time_moe_rules(network) for name in rule.theirs}
    assert len(names) == 463
    assert "model.layers.11.ffn_layer.experts.7.down_proj.weight" in names


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A folder in the released format."""
    network = tiny(num_kv_heads=2)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_time_moe(network, tmp_path)
    return tmp_path


def test_the_round_trip_is_exact(released: Path, tmp_path: Path) -> None:
    network = load_time_moe(released)
    again = load_file(save_time_moe(network, tmp_path / "again"))
    stored = load_file(released / "model.safetensors")
    assert stored.keys() == again.keys()
    assert all(torch.equal(stored[name], again[name]) for name in stored)
    assert torch.equal(network.generate(series(), 5), tiny(num_kv_heads=2).generate(series(), 5))


def test_half_precision_loads_into_both(released: Path) -> None:
    path = released / "model.safetensors"
    save_file({k: v.bfloat16() for k, v in load_file(path).items()}, path)
    assert next(load_time_moe(released).parameters()).dtype == torch.float32
    assert next(load_time_moe(released, torch.bfloat16).parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_other_tensors_are_refused_by_name(released: Path, change: str) -> None:
    path = released / "model.safetensors"
    state = load_file(path)
    if change == "missing":
        del state["model.norm.weight"]
    elif change == "extra":
        state["model.norm.bias"] = torch.zeros(16)
    else:
        state["model.norm.weight"] = torch.zeros(17)
    save_file(state, path)
    with pytest.raises(InputError, match=r"model.norm|norm.weight has shape"):
        load_time_moe(released)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.json and model.safetensors"):
        load_time_moe(tmp_path)
