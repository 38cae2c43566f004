"""Released Time-MoE checkpoints: configuration and tensors' names, in both directions."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mixtura.core import MoELayer
from mixtura.core.errors import InputError
from mixtura.forecasting.checkpoints.released import read_released
from mixtura.forecasting.checkpoints.state_map import (
    Rule,
    load_into,
    rename,
    save_state,
    stack,
    stack_pairs,
)
from mixtura.forecasting.networks.time_moe import TimeMoE

__all__ = ["load_time_moe", "save_time_moe", "time_moe_arguments", "time_moe_rules"]

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu_squared",
    "mish": "mish",
    "tanh": "tanh",
}
# Ours and theirs: the activation stands on our `up` and on their `gate_proj`.
SWIGLU = {"up": "gate_proj", "gate": "up_proj", "down": "down_proj"}


def time_moe_rules(network: TimeMoE) -> list[Rule]:
    """All tensors: 463 of the 50M model."""
    rules = [
        rename("embedding.embed.weight", "model.embed_layer.emb_layer.weight"),
        rename("embedding.gate.weight", "model.embed_layer.gate_layer.weight"),
        rename("norm.weight", "model.norm.weight"),
    ]
    for depth, block in enumerate(network.blocks):
        ours, theirs = f"blocks.{depth}", f"model.layers.{depth}"
        for name in ("q_proj", "k_proj", "v_proj"):
            for kind in ("weight", "bias"):
                place = f"{theirs}.self_attn.{name}.{kind}"
                rules.append(rename(f"{ours}.attention.{name}.{kind}", place))
        rules += [
            rename(f"{ours}.attention.o_proj.weight", f"{theirs}.self_attn.o_proj.weight"),
            rename(f"{ours}.attention_norm.weight", f"{theirs}.input_layernorm.weight"),
            rename(f"{ours}.mixture_norm.weight", f"{theirs}.post_attention_layernorm.weight"),
        ]
        layer, place = block.mixture, f"{theirs}.ffn_layer"
        if not isinstance(layer, MoELayer):
            rules += swiglu_rules(f"{ours}.mixture", place)
            continue
        experts = [f"{place}.experts.{e}" for e in range(layer.num_experts)]
        rules += [
            rename(f"{ours}.mixture.router.score_function.weight", f"{place}.gate.weight"),
            stack_pairs(
                f"{ours}.mixture.experts.gate_up",
                [f"{expert}.gate_proj.weight" for expert in experts],
                [f"{expert}.up_proj.weight" for expert in experts],
            ),
            stack(
                f"{ours}.mixture.experts.down", [f"{expert}.down_proj.weight" for expert in experts]
            ),
            rename(f"{ours}.mixture.shared.gate.weight", f"{place}.shared_expert_gate.weight"),
            *swiglu_rules(f"{ours}.mixture.shared.module", f"{place}.shared_expert"),
        ]
    for number in range(len(network.heads)):
        theirs = f"lm_heads.{number}.out_layer.weight"
        rules.append(rename(f"heads.{number}.weight", theirs))
    return rules


def swiglu_rules(ours: str, theirs: str) -> list[Rule]:
    """A gated feed-forward network."""
    return [
        rename(f"{ours}.{name}.weight", f"{theirs}.{there}.weight")
        for name, there in SWIGLU.items()
    ]


def time_moe_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Our constructor's arguments from a released config.json.

    Raises:
        InputError: for a configuration that Time-MoE never had.
    """
    if config.get("input_size", 1) != 1:
        raise InputError(
            f"Time-MoE is univariate: input_size must be 1, got {config['input_size']}"
        )
    activation = config.get("hidden_act", "silu")
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise InputError(f"hidden_act must be one of {known}, got {activation!r}")
    dense = config.get("use_dense", False)
    if dense == config.get("apply_aux_loss", not dense):
        raise InputError("exactly one of use_dense and apply_aux_loss must be true")
    heads = config.get("horizon_lengths", 1)
    return {
        "dim": config["hidden_size"],
        "hidden_dim": config["intermediate_size"],
        "num_layers": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "num_kv_heads": config.get("num_key_value_heads"),
        "num_experts": config.get("num_experts", 1),
        "top_k": config.get("num_experts_per_tok", 2),
        "dense": dense,
        "horizons": [heads] if isinstance(heads, int) else list(heads),
        "context_length": config.get("max_position_embeddings", 32768),
        "eps": config.get("rms_norm_eps", 1e-6),
        "rope_theta": float(config.get("rope_theta", 10000)),
        "activation": ACTIVATIONS[activation],
        "attention_dropout": config.get("attention_dropout", 0.0),
        "init_std": config.get("initializer_range", 0.02),
    }


def load_time_moe(folder: str | Path, dtype: torch.dtype = torch.float32) -> TimeMoE:
    """The model of a folder with a released config.json and model.safetensors.

    Args:
        folder: as it was downloaded.
        dtype: of the weights; the released ones are bfloat16.

    Raises:
        InputError: for missing or damaged files, missing or unexpected tensors, or other sizes.
    """
    arguments, state = read_released(Path(folder), "Time-MoE", time_moe_arguments)
    network = TimeMoE(**arguments).to(dtype)
    load_into(network, time_moe_rules(network), {k: v.to(dtype) for k, v in state.items()})
    return network.eval()


def save_time_moe(network: TimeMoE, folder: str | Path) -> Path:
    """Write the weights under the released names; the inverse of loading, bit by bit."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = save_state(time_moe_rules(network), network.state_dict())
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder / "model.safetensors"
