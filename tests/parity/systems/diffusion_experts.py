"""Expert layers of the diffusion fixtures: their weights, gradients and choices by name.

Shape letters: B samples, T tokens, D width, E routed experts, K choices.
"""

import torch
from torch import Tensor

from mixtura.core import GLUExperts, MLPExperts, Routing, SharedExpert

from ..report import Report

MLP_NAMES = {
    "up": "fc1.weight",
    "up_bias": "fc1.bias",
    "down": "fc2.weight",
    "down_bias": "fc2.bias",
}
PROMOE_NAMES = {
    name: key.replace("fc1", "up_proj").replace("fc2", "down_proj")
    for name, key in MLP_NAMES.items()
}


def stacked(weights: dict[str, Tensor], key: str) -> Tensor:
    """`experts.0.KEY`, `experts.1.KEY`, ... as one tensor."""
    count = sum(name.endswith(key) and name.startswith("experts.") for name in weights)
    return torch.stack([weights[f"experts.{e}.{key}"] for e in range(count)])


def mlp_experts(weights: dict[str, Tensor], names: dict[str, str]) -> MLPExperts:
    """GELU experts with these weights."""
    values = {name: stacked(weights, key) for name, key in names.items()}
    experts, hidden, dim = values["up"].shape
    bank = MLPExperts(experts, dim, hidden, activation="gelu_tanh", bias=True)
    bank.load_state_dict(values)
    return bank


def swiglu_experts(weights: dict[str, Tensor]) -> GLUExperts:
    """SwiGLU experts with these weights."""
    gate_up = torch.cat(
        [stacked(weights, "gate_proj.weight"), stacked(weights, "up_proj.weight")], 1
    )
    bank = GLUExperts(len(gate_up), gate_up.shape[2], gate_up.shape[1] // 2)
    bank.load_state_dict({"gate_up": gate_up, "down": stacked(weights, "down_proj.weight")})
    return bank


def ffn_experts(weights: dict[str, Tensor]) -> MLPExperts | GLUExperts:
    """The experts of the baselines, whichever kind their names say."""
    if "experts.0.fc1.weight" in weights:
        return mlp_experts(weights, MLP_NAMES)
    return swiglu_experts(weights)


def shared_expert(weights: dict[str, Tensor], slot: str) -> SharedExpert | None:
    """The expert that every token uses, if there is one."""
    start = slot + "."
    own = {
        "experts.0." + k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)
    }
    if not own:
        return None
    if slot == "shared_expert":
        return SharedExpert(mlp_experts(own, PROMOE_NAMES))
    return SharedExpert(ffn_experts(own))


def expert_gradients(bank, prefix: str, names: dict[str, str]) -> dict[str, Tensor]:
    """Gradients of stacked experts by the reference's key names; `prefix` has a place for e."""
    if isinstance(bank, GLUExperts):
        gate, up = bank.gate_up.grad.chunk(2, 1)
        parts = {"gate_proj.weight": gate, "up_proj.weight": up, "down_proj.weight": bank.down.grad}
    else:
        parts = {key: getattr(bank, name).grad for name, key in names.items()}
    return {
        f"{prefix.format(e=e)}.{key}": value[e]
        for key, value in parts.items()
        for e in range(bank.num_experts)
    }


def layer_gradients(layer, slot: str, shared_slot: str, names: dict[str, str]) -> dict[str, Tensor]:
    """Gradients of routed and shared experts by the reference's key names."""
    found = expert_gradients(layer.experts, f"{slot}.experts.{{e}}", names)
    if layer.shared is not None:
        found |= expert_gradients(layer.shared.module, f"{slot}.{shared_slot}", names)
    return found


def compare_choices(report: Report, prefix: str, routing: Routing) -> None:
    """Chosen experts and weights of a token-choice routing; equal sets are equal.

    A choice that does not count shows the expert of the first choice with weight 0.
    """
    expected = report.fixture.get(f"{prefix}.expert_index")
    index, weight = routing.index, routing.weight.view_as(routing.index)
    if routing.valid is not None:
        index = torch.where(routing.valid, index, index[:, :1])
        weight = weight * routing.valid
    order = align(index, expected.view_as(index))
    report.exact(f"{prefix}.expert_index", index.gather(1, order).view_as(expected))
    report.compare(f"{prefix}.expert_weight", weight.gather(1, order).view_as(expected))


def compare_taken(report: Report, prefix: str, routing: Routing, samples: Tensor) -> None:
    """Tokens and weights of an expert-choice routing, for some of the samples."""
    expected = report.fixture.get(f"{prefix}.ec_token_index")
    experts, places = expected.shape[1:]
    scores = routing.scores.unflatten(0, (routing.num_samples, -1)).transpose(1, 2)[samples]
    chosen = routing.chosen.unflatten(0, (routing.num_samples, -1)).transpose(1, 2)[samples]
    chosen = chosen[:, :experts]
    if bool((chosen.sum(-1) != places).any()):
        report.fail(f"{prefix}.ec_token_index", f"expected {places} tokens for each expert")
        return
    index = chosen.nonzero()[:, -1].view_as(expected)
    order = align(index.flatten(0, 1), expected.flatten(0, 1)).view_as(expected)
    index = index.gather(-1, order)
    report.exact(f"{prefix}.ec_token_index", index)
    report.compare(f"{prefix}.ec_weight", scores.gather(-1, index))


def align(index: Tensor, expected: Tensor) -> Tensor:
    """The permutation of each row of `index` that has the order of `expected`."""
    place = expected.argsort(stable=True).argsort(stable=True)
    return index.argsort(stable=True).gather(-1, place)
