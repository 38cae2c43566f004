"""Every option of Seg-MoE and MoHETS against the equations written out, by the released names."""

from typing import Any, TypeVar

import pytest
import torch
from torch import nn

from mixtura.forecasting.checkpoints import load_into, mohets_rules, save_state, seg_moe_rules
from mixtura.forecasting.networks import MoHETS, SegMoE
from tests.unit.forecasting.patch_equations import forward

Network = TypeVar("Network", bound=nn.Module)

SEG_MOE: dict[str, Any] = {
    "context_length": 32,
    "patch_width": 4,
    "width_factor": 2.0,
    "num_layers": 2,
    "dim": 16,
    "num_heads": 4,
    "num_kv_heads": 2,
    "hidden_dim": 12,
    "segment_sizes": [3, 5],
    "num_experts": 4,
    "top_k": 1,
    "dropout": 0.0,
    "drop_path": 0.0,
    "router_dropout": 0.0,
}
MOHETS: dict[str, Any] = {
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
DEFAULTS = {
    "rope_theta": 10000.0,
    "qk_norm": False,
    "head_gate": False,
    "causal": False,
    "instance_norm": True,
}


def perturbed(network: Network) -> Network:
    """Norms, biases and routers away from where they begin; frequencies that floats can carry."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            fourier = (".experts." in name and isinstance(network, MoHETS)) or ".wave" in name
            parameter.mul_(0.3 if fourier and parameter.ndim > 1 else 1.0)
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "layer", "bias": True},
        {"norm": "dyt"},
        {"embedding_norm": "rms", "instance_norm": False},
        {"glu": True, "bias": True, "top_k": 2},
        {"qk_norm": True, "rope_theta": 500.0},
        {"head_gate": True, "num_kv_heads": None},
        {"head_gate": True, "num_kv_heads": 1, "qk_norm": True},
        {"causal": True, "rope_theta": 0.0},
        {"segment_sizes": 1, "top_k": 3},
        {"segment_sizes": 3, "shared_expert": None},
        {"segment_sizes": [8, 11], "router_temperature": 0.3},
        {"expert_granularity": "projected", "bias": True},
        {"expert_granularity": "projected", "glu": True, "top_k": 4, "shared_expert": "conv"},
        {"shared_expert": "conv", "glu": True, "bias": True},
        {"shared_expert": "dwconv", "bias": True},
        {"renormalize": "always"},
        {"num_experts": 0},
        {"num_experts": 0, "shared_expert": "dwconv", "glu": True},
        {"head": "mlp", "unpatch": "linear", "bias": True},
        {"head": "conv", "causal": True},
        {"head": "dwconv", "patch_width": 8},
        {"patch_width": 2, "dim": 40, "num_heads": 2},
    ],
    ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()) or "default",
)
def test_seg_moe(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    settings = {**SEG_MOE, **options}
    network = perturbed(SegMoE(**settings))
    kinds = {"shared_kind": settings.get("shared_expert", "mlp")}
    if settings.get("head", "linear") != "linear":
        kinds["head_kind"] = settings["head"]
    rules = seg_moe_rules(network, **kinds)
    state = save_state(rules, network.state_dict())
    sizes = settings["segment_sizes"]
    plain = {
        **DEFAULTS,
        **settings,
        "sizes": sizes if isinstance(sizes, list) else [sizes] * 2,
        "always": settings.get("renormalize") == "always",
    }
    x = 2 * torch.randn(2, 3, 32) + 5
    with torch.no_grad():
        expected = torch.stack([forward(state, window, plain) for window in x])
        assert torch.allclose(network(x), expected, rtol=1e-4, atol=2e-5)
    copy = SegMoE(**settings)
    load_into(copy, rules, state)
    assert torch.equal(copy.eval()(x), network(x))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"marks": 4},
        {"marks": 0},
        {"covariates": False, "marks": 0},
        {"norm": "dyt"},
        {"norm": "layer", "embedding_norm": "rms"},
        {"glu": True, "bias": True},
        {"experts": "mlp", "shared_expert": "mlp", "glu": True},
        {"experts": ["fan", "mlp", "mlp", "fan"], "top_k": 4},
        {"shared_expert": "fan", "glu": True},
        {"shared_expert": "conv", "top_k": 1},
        {"num_experts": 0},
        {"num_experts": 0, "shared_expert": "fan"},
        {"head_gate": True, "qk_norm": True},
        {"causal": True},
        {"rope_theta": 0.0},
        {"head": "fan_layer", "bias": True},
        {"head": "fan"},
        {"head": "dwconv", "unpatch": "linear"},
        {"num_variates": 30, "instance_norm": False},
    ],
    ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()) or "default",
)
def test_mohets(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    settings = {**MOHETS, **options}
    count = settings.pop("marks", 5)
    network = perturbed(MoHETS(**settings))
    kinds = {"shared_kind": settings.get("shared_expert", "dwconv")}
    if settings.get("head", "linear") not in ("linear", "fan_layer"):
        kinds["head_kind"] = settings["head"]
    rules = mohets_rules(network, **kinds)
    state = save_state(rules, network.state_dict())
    plain = {
        **DEFAULTS,
        "top_k": 2,
        **settings,
        "sizes": [1, 1],
        "always": True,
        "added_positions": not settings.get("rope_theta", 1.0),
    }
    x = 2 * torch.randn(2, settings["num_variates"], 48) + 5
    marks = torch.rand(2, count, 48) - 0.5 if count else None
    with torch.no_grad():
        expected = torch.stack(
            [
                forward(state, window, plain, None if marks is None else marks[i])
                for i, window in enumerate(x)
            ]
        )
        assert torch.allclose(network(x, marks), expected, rtol=1e-4, atol=5e-5)
    copy = MoHETS(**settings)
    load_into(copy, rules, state)
    assert torch.equal(copy.eval()(x, marks), network(x, marks))
