"""Weights of the reference implementations, by a fixed key map."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mixtura.core import InputError
from mixtura.dynamics.dynamix import DynaMix
from mixtura.dynamics.experts import GEPS, NCF, CoDA, ShPLRNN, VectorFields
from mixtura.dynamics.mixer import MixER

__all__ = ["expert_keys", "load_dynamix_weights", "load_mixer_weights"]

PREFIX = "vectorfield.neuralnet."


def expert_keys(experts: VectorFields) -> dict[str, str]:
    """Parameter of a bank of experts -> leaf of one expert of the reference implementation."""
    keys = {"context_shift": "ctx_shift"}
    if isinstance(experts, GEPS):
        layer, slope = "network.layers.{}.", "network.layers.{}.beta"
        for i in range(len(experts.root.weights)):
            name = layer.format(2 * i)
            keys[f"root.weights.{i}"] = f"root_weights.{name}weight"
            keys[f"root.biases.{i}"] = f"root_weights.{name}bias"
            keys[f"left.{i}"] = f"left_weights.{name}weight"
            keys[f"right.{i}"] = f"right_weights.{name}weight"
            keys[f"left_bias.{i}"] = f"left_weights.{name}bias"
        for i in range(len(experts.root.betas)):
            name = slope.format(2 * i + 1)
            keys[f"root.betas.{i}"] = f"root_weights.{name}"
            keys[f"left_beta.{i}"] = f"left_weights.{name}"
    elif isinstance(experts, CoDA):
        keys |= {"root": "root_weights", "hyper": "hyperlayer.weight"}
    elif isinstance(experts, ShPLRNN):
        keys["hyper"] = "hyperlayer.weight"
    elif isinstance(experts, NCF):
        for ours, theirs in (("context", "ctx"), ("data", "data"), ("main", "main")):
            network = getattr(experts, ours)
            for i in range(len(network.weights)):
                keys[f"{ours}.weights.{i}"] = f"layers_{theirs}.{i}.weight"
                keys[f"{ours}.biases.{i}"] = f"layers_{theirs}.{i}.bias"
            for i in range(len(network.betas)):
                keys[f"{ours}.betas.{i}"] = f"activations_{theirs}.{i}.beta"
    else:
        raise InputError(f"no reference weights are known for {type(experts).__name__}")
    return keys


@torch.no_grad()
def load_mixer_weights(mixer: MixER, weights: Mapping[str, Tensor]) -> None:
    """Copy the leaves of a reference MixER (names as paths) into `mixer`."""
    experts = mixer.experts
    parameters = dict(experts.named_parameters())
    for ours, theirs in expert_keys(experts).items():
        stacked = torch.stack(
            [_take(weights, f"{PREFIX}experts.{k}.{theirs}") for k in range(experts.num_experts)]
        )
        _copy(parameters[ours], stacked, theirs)
    _copy(mixer.score.weight, _take(weights, PREFIX + "gate"), "gate")


@torch.no_grad()
def load_dynamix_weights(model: DynaMix, weights: Mapping[str, Tensor]) -> None:
    """Copy a released DynaMix state dict into `model`."""
    experts = model.experts
    names = {"a": "A", "w": "W", "h": "h"}
    if experts.kind == "clipped_shallow":
        names = {"a": "A", "w1": "W1", "w2": "W2", "h1": "h1", "h2": "h2"}
    for ours, theirs in names.items():
        stacked = torch.stack(
            [_take(weights, f"experts.{j}.{theirs}") for j in range(experts.num_experts)]
        )
        _copy(getattr(experts, ours), stacked, theirs)
    gate = model.gate
    for parameter, name in (
        (gate.project, "D"),
        (gate.sigma, "sigma"),
        (gate.temperature_attention, "softmax_temp1"),
        (gate.temperature_experts, "softmax_temp2"),
        (gate.conv.weight, "conv.weight"),
        (gate.conv.get_parameter("bias"), "conv.bias"),
        (gate.hidden.weight, "mlp_layer1.weight"),
        (gate.hidden.bias, "mlp_layer1.bias"),
        (gate.out.weight, "mlp_layer2.weight"),
        (gate.out.bias, "mlp_layer2.bias"),
    ):
        _copy(parameter, _take(weights, f"gating_network.{name}"), name)
    _copy(model.lift, _take(weights, "B"), "B")


def _take(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise InputError(
            f"the weights hold no {name!r}; they belong to another model or to other sizes"
        )
    return weights[name]


def _copy(parameter: nn.Parameter | Tensor, value: Tensor, name: str) -> None:
    if parameter.numel() != value.numel():
        raise InputError(
            f"{name} has {tuple(value.shape)} entries, the model expects {tuple(parameter.shape)}; "
            "build the model with the sizes of the weights"
        )
    parameter.copy_(value.reshape(parameter.shape))
