"""Time-MoE against its equations written out, point by point, by the released names."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mixtura.forecasting.checkpoints import save_state, time_moe_rules
from mixtura.forecasting.networks import TimeMoE

SIZES: dict[str, Any] = {
    "dim": 16,
    "hidden_dim": 24,
    "num_layers": 2,
    "num_heads": 4,
    "num_experts": 4,
    "horizons": [1, 3, 7],
    "init_std": 0.3,
}


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """`x / rms(x) * weight`."""
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def turned(x: Tensor, position: int, theta: float) -> Tensor:
    """Dimensions i and i + d/2 of one vector are rotated together."""
    half = len(x) // 2
    angles = position * theta ** -(torch.arange(half) / half)
    first, second = x[:half], x[half:]
    return torch.cat(
        (
            first * angles.cos() - second * angles.sin(),
            second * angles.cos() + first * angles.sin(),
        )
    )


def swiglu(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """`down(silu(gate x) * up x)`."""
    gate, up, down = (state[f"{name}.{part}_proj.weight"] for part in ("gate", "up", "down"))
    return down @ (F.silu(gate @ x) * (up @ x))


def feed(state: Mapping[str, Tensor], place: str, x: Tensor, top_k: int) -> Tensor:
    """One token: the dense network, or the chosen experts beside the gated shared one."""
    if f"{place}.gate.weight" not in state:
        return swiglu(state, place, x)
    weights, chosen = (state[f"{place}.gate.weight"] @ x).softmax(-1).topk(top_k)
    y = (state[f"{place}.shared_expert_gate.weight"] @ x).sigmoid() * swiglu(
        state, f"{place}.shared_expert", x
    )
    for weight, expert in zip(weights, chosen.tolist(), strict=True):
        y = y + weight * swiglu(state, f"{place}.experts.{expert}", x)
    return y


def hidden(state: Mapping[str, Tensor], x: Tensor, o: Mapping[str, Any]) -> Tensor:
    """(time) -> (time, dim)."""
    embed, gate = (state[f"model.embed_layer.{n}_layer.weight"][:, 0] for n in ("emb", "gate"))
    tokens = torch.stack([F.silu(gate * v) * embed * v for v in x])
    heads, groups = o["num_heads"], o.get("num_kv_heads") or o["num_heads"]
    width, eps, theta = o["dim"] // heads, o.get("eps", 1e-6), o.get("rope_theta", 10000.0)
    for layer in range(o["num_layers"]):
        place = f"model.layers.{layer}"
        h = rms(tokens, state[f"{place}.input_layernorm.weight"], eps)
        q, k, v = (
            h @ state[f"{place}.self_attn.{n}_proj.weight"].T
            + state[f"{place}.self_attn.{n}_proj.bias"]
            for n in "qkv"
        )
        q, k, v = q.view(len(x), heads, -1), k.view(len(x), groups, -1), v.view(len(x), groups, -1)
        mixed = torch.zeros(len(x), heads, width)
        for head in range(heads):
            shared = head // (heads // groups)
            keys = torch.stack([turned(k[t, shared], t, theta) for t in range(len(x))])
            for t in range(len(x)):
                scores = keys[: t + 1] @ turned(q[t, head], t, theta) / math.sqrt(width)
                mixed[t, head] = scores.softmax(0) @ v[: t + 1, shared]
        tokens = tokens + mixed.flatten(1) @ state[f"{place}.self_attn.o_proj.weight"].T
        h = rms(tokens, state[f"{place}.post_attention_layernorm.weight"], eps)
        fed = [feed(state, f"{place}.ffn_layer", row, o.get("top_k", 2)) for row in h]
        tokens = tokens + torch.stack(fed)
    return rms(tokens, state["model.norm.weight"], eps)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_kv_heads": 2},
        {"num_kv_heads": 1, "top_k": 1},
        {"top_k": 3, "num_experts": 5},
        {"num_experts": 1, "top_k": 1},
        {"dense": True, "hidden_dim": 25},
        {"eps": 1e-2, "rope_theta": 50.0},
    ],
    ids=str,
)
def test_every_head_and_the_points_it_generates(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    settings = {**SIZES, **options}
    network = TimeMoE(**settings).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    state = save_state(time_moe_rules(network), network.state_dict())
    x = torch.randn(9)
    tokens = hidden(state, x, settings)
    for number, (horizon, prediction) in enumerate(network(x[None]).items()):
        expected = tokens @ state[f"lm_heads.{number}.out_layer.weight"].T
        assert expected.shape == (9, horizon)
        assert torch.allclose(prediction[0], expected, rtol=1e-4, atol=2e-5)
    series = x
    for number, _ in ((2, 7), (1, 3), (0, 1)):  # 11 points
        last = hidden(state, series, settings)[-1]
        series = torch.cat((series, state[f"lm_heads.{number}.out_layer.weight"] @ last))
    padded = torch.cat((torch.full((5,), 9.0), x))[None]
    known = torch.arange(14)[None] >= 5
    for y in (
        network.generate(x[None], 11),
        network.generate(x[None], 11, use_cache=False),
        network.generate(padded, 11, mask=known),
    ):
        assert torch.allclose(y[0], series[9:], rtol=1e-3, atol=1e-4)
