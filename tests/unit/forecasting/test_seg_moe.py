"""Seg-MoE: its options, its sizes, its gradients."""

import itertools
from contextlib import nullcontext

import pytest
import torch

from mixtura.core import InputError, LoadBalance, from_config, moe_layers, record_routing, to_config
from mixtura.forecasting.networks import SegMoE, segment_mixture

TINY = {
    "context_length": 48,
    "patch_width": 4,
    "width_factor": 2.0,
    "num_layers": 2,
    "dim": 16,
    "num_heads": 4,
    "num_kv_heads": 2,
    "hidden_dim": 24,
    "segment_sizes": [3, 5],
    "dropout": 0.0,
    "drop_path": 0.0,
    "router_dropout": 0.0,
}


def tiny(**options: object) -> SegMoE:
    torch.manual_seed(0)
    return SegMoE(**{**TINY, **options})


def has_experts(network: SegMoE) -> bool:
    return bool(moe_layers(network))


def windows(batch: int = 2, variates: int = 3, length: int = 48) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, variates, length, generator=generator)


@pytest.mark.parametrize(
    "options",
    [
        {"expert_granularity": "segment"},
        {"expert_granularity": "projected"},
        {"glu": True, "bias": True},
        {"shared_expert": None},
        {"shared_expert": "dwconv"},
        {"num_experts": 0},
        {"top_k": 3, "renormalize": "always"},
        {"norm": "layer", "embedding_norm": "rms"},
        {"qk_norm": True, "head_gate": True},
        {"causal": True, "rope_theta": 0.0},
        {"head": "mlp", "unpatch": "linear", "bias": True},
        {"head": "dwconv", "instance_norm": False},
        {"segment_sizes": 1},
        {"width_factor": 0.5},
    ],
    ids=lambda options: "-".join(options),
)
def test_every_option_trains_and_forecasts(options: dict[str, object]) -> None:
    network, x = tiny(**options), windows()
    future = windows(length=network.target_length)
    recorded = record_routing(network) if has_experts(network) else nullcontext()
    with recorded:
        prediction, target = network.supervise(x, future)
    assert prediction.shape == target.shape
    (prediction - target).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert all(".experts." in name or ".router." in name for name in idle), idle
    forecast = network.forecast(x, 19)
    assert forecast.shape == (2, 3, 19)
    assert forecast.isfinite().all()


@pytest.mark.parametrize("options", [{}, {"expert_granularity": "projected"}, {"num_experts": 0}])
def test_the_configuration_tree_builds_the_same_network(options: dict[str, object]) -> None:
    network = tiny(**options)
    again = from_config(to_config(network))
    assert to_config(again) == to_config(network)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.forecast(windows(), 8), network.forecast(windows(), 8))


def test_the_small_model_has_the_published_number_of_parameters() -> None:
    network = SegMoE(dim=128, hidden_dim=256, segment_sizes=[3, 5, 5, 5])
    assert sum(parameter.numel() for parameter in network.parameters()) == 6_917_408


def test_an_expert_sees_its_tokens_alone_under_the_decision_of_the_segment() -> None:
    torch.manual_seed(0)
    layer = segment_mixture(8, 12, 3, shared=None, num_experts=4)
    x = torch.randn(2, 7, 8)
    with record_routing(layer) as record:
        y = layer(x)
    (routing,) = next(iter(record.calls.values()))
    assert routing.num_units == 2 * 3
    for sample, token in itertools.product(range(2), range(7)):
        unit = sample * 3 + token // 3
        expert, weight = int(routing.index[unit, 0]), routing.weight[unit]
        alone = weight * layer.experts.one(expert, x[sample, token][None])[0]
        assert torch.allclose(y[sample, token], alone, atol=1e-6)


@pytest.mark.parametrize(("renormalize", "some"), [("if_k>1", True), ("always", False)])
def test_a_top_1_router_learns_from_the_task_unless_its_weight_is_made_one(
    renormalize: str, some: bool
) -> None:
    torch.manual_seed(0)
    layer = segment_mixture(8, 12, 2, renormalize=renormalize)
    layer(torch.randn(2, 6, 8)).square().sum().backward()
    gradient = layer.router.score_function.weight.grad
    norm = 0.0 if gradient is None else float(gradient.norm())
    assert (norm > 1e-4) is some


def test_one_expert_that_is_always_chosen_equals_all_of_them() -> None:
    torch.manual_seed(0)
    layer = segment_mixture(8, 12, 2, num_experts=3, top_k=3, shared=None, renormalize="always")
    x = torch.randn(2, 6, 8)
    routing = layer.route(x)
    units = layer.units.group(x)
    dense = (layer.experts.all(units) * routing.dense_weight[..., None, None]).sum(1)
    assert torch.allclose(layer(x), layer.units.ungroup(dense, x.shape), atol=1e-6)


def test_balance_is_one_when_all_experts_are_used_alike() -> None:
    network = tiny(balance=LoadBalance(1.0, normalization="one", scope="model"))
    for block in network.blocks:
        torch.nn.init.zeros_(block.mixture.router.score_function.weight)
    with record_routing(network) as record:
        network(windows())
    (term,) = record.losses().values()
    assert term.item() == pytest.approx(1.0, abs=1e-6)


def test_evaluation_is_deterministic_and_training_mode_is_kept() -> None:
    network, x = tiny(dropout=0.3, drop_path=0.3, router_dropout=0.3), windows()
    copy = x.clone()
    assert torch.equal(network.forecast(x, 20), network.forecast(x, 20))
    assert network.training
    assert torch.equal(x, copy)


def test_windows_do_not_influence_each_other() -> None:
    network, x = tiny(), windows(batch=3)
    together = network.forecast(x, 8)
    alone = torch.cat([network.forecast(one[None], 8) for one in x])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_longer_horizon_begins_with_the_shorter_one() -> None:
    network, x = tiny(), windows(length=24)
    assert torch.equal(network.forecast(x, 30)[..., :10], network.forecast(x, 10))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top_k": 5}, "top_k must be between 1 and num_experts"),
        ({"context_length": 50}, "multiple of patch_width"),
        ({"segment_sizes": [3]}, "one number for each of the 2 layers"),
        ({"dim": 18}, "divisible by num_heads"),
        ({"num_kv_heads": 3}, "divisible by num_kv_heads"),
        ({"dim": 12}, "even head dimension"),
        ({"width_factor": 0.1}, "width_factor must be at least"),
        ({"num_experts": 0, "shared_expert": None}, "needs a shared network"),
    ],
)
def test_what_cannot_be_is_refused_in_words(options: dict[str, object], words: str) -> None:
    with pytest.raises((InputError, TypeError), match=words):
        tiny(**options)


def test_windows_that_do_not_fit_are_refused() -> None:
    network = tiny()
    with pytest.raises(InputError, match="at most 48 points"):
        network(windows(length=52))
    with pytest.raises(InputError, match="drop the oldest 2"):
        network(windows(length=46))
    with pytest.raises(InputError, match="at least 8 points"):
        network.forecast(windows(length=7), 8)
    with pytest.raises(InputError, match="horizon must be at least 1, got 0"):
        network.forecast(windows(), 0)


def test_training_may_look_at_the_new_points_only() -> None:
    network = tiny(loss_region="tail")
    future = windows(length=8)
    with record_routing(network):
        prediction, target = network.supervise(windows(), future)
    assert prediction.shape[-1] == 8
    assert torch.equal(target, future)
