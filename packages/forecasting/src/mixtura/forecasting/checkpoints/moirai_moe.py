"""Released Moirai-MoE checkpoints: configuration and tensors' names, in both directions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

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
from mixtura.forecasting.networks.moirai_moe import COMPONENTS, MoiraiMoE

__all__ = [
    "load_moirai_moe",
    "load_moirai_moe_state",
    "moirai_moe_arguments",
    "moirai_moe_rules",
    "save_moirai_moe",
]

CENTROIDS = "encoder.centroid"
CLASSES = {
    "StudentTOutput": "student_t",
    "NormalOutput": "normal",
    "NormalFixedScaleOutput": "normal_fixed_scale",
    "NegativeBinomialOutput": "negative_binomial",
    "LogNormalOutput": "log_normal",
}


def moirai_moe_rules(network: MoiraiMoE) -> list[Rule]:
    """All tensors; the centroids of layer i are `encoder.centroid.i`, a row of one tensor."""
    rules = [rename("norm.weight", "encoder.norm.weight")]
    for name in ("in_proj", "res_proj", "feat_proj"):
        rules += [rename(f"{name}.{kind}", f"{name}.{kind}") for kind in ("weight", "bias")]
    for depth, block in enumerate(network.blocks):
        ours, theirs = f"blocks.{depth}", f"encoder.layers.{depth}"
        attention = f"{theirs}.self_attn"
        names = {
            "attention_norm.weight": f"{theirs}.norm1.weight",
            "mixture_norm.weight": f"{theirs}.norm2.weight",
            "attention.q_proj.weight": f"{attention}.q_proj.weight",
            "attention.k_proj.weight": f"{attention}.k_proj.weight",
            "attention.v_proj.weight": f"{attention}.v_proj.weight",
            "attention.o_proj.weight": f"{attention}.out_proj.weight",
            "attention.q_norm.weight": f"{attention}.q_norm.weight",
            "attention.k_norm.weight": f"{attention}.k_norm.weight",
            "attention.variate_bias": f"{attention}.var_attn_bias.emb.weight",
            "mixture.router.score_function.centroids": f"{CENTROIDS}.{depth}",
        }
        rules += [rename(f"{ours}.{own}", other) for own, other in names.items()]
        experts = [f"{theirs}.ffn.experts.{e}" for e in range(block.mixture.num_experts)]
        rules += [
            stack_pairs(
                f"{ours}.mixture.experts.gate_up",
                [f"{expert}.fc_gate.weight" for expert in experts],
                [f"{expert}.fc1.weight" for expert in experts],
            ),
            stack(f"{ours}.mixture.experts.down", [f"{expert}.fc2.weight" for expert in experts]),
        ]
    places = ["weights_logits"]
    for number, component in enumerate(network.head.components):
        places += [f"components.{number}.{key}" for key, _ in component.named_children()]
    for place in places:
        for kind in ("weight", "bias"):
            rules.append(rename(f"head.{place}.{kind}", f"param_proj.proj.{place}.{kind}"))
    return rules


def load_moirai_moe_state(network: MoiraiMoE, theirs: Mapping[str, Tensor]) -> None:
    """Load the reference's state dict, strictly.

    Raises:
        InputError: for missing or unexpected tensors, or another shape.
    """
    state = dict(theirs)
    if CENTROIDS in state:
        rows = state.pop(CENTROIDS)
        state |= {f"{CENTROIDS}.{depth}": row for depth, row in enumerate(rows)}
    load_into(network, moirai_moe_rules(network), state)


def moirai_moe_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Our constructor's arguments from a released config.json.

    Raises:
        InputError: for a distribution that this package does not know.
    """
    return {
        "patch_sizes": list(config["patch_sizes"]),
        "dim": config["d_model"],
        "hidden_dim": config.get("d_ff") or (int(4 * config["d_model"] * 2 / 3) + 7) // 8 * 8,
        "num_layers": config["num_layers"],
        "num_experts": config.get("num_experts", 32),
        "top_k": config.get("num_experts_per_token", 2),
        "distance_mode": "largest",
        "components": _components(config.get("distr_output")),
        "scaling": config.get("scaling", True),
        "attention_dropout": config.get("attn_dropout_p", 0.0),
        "dropout": config.get("dropout_p", 0.0),
    }


def load_moirai_moe(folder: str | Path, dtype: torch.dtype = torch.float32) -> MoiraiMoE:
    """The model of a folder with a released config.json and model.safetensors.

    Args:
        folder: as it was downloaded.
        dtype: of the weights; the centroids stay in float32.

    Raises:
        InputError: for missing or damaged files, missing or unexpected tensors, or other sizes.
    """
    arguments, state = read_released(Path(folder), "Moirai-MoE", moirai_moe_arguments)
    network = MoiraiMoE(**arguments).to(dtype)
    load_moirai_moe_state(network, state)
    return network.eval()


def save_moirai_moe(network: MoiraiMoE, folder: str | Path) -> Path:
    """Write the weights under the released names; the inverse of loading."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = save_state(moirai_moe_rules(network), network.state_dict())
    rows = [state.pop(f"{CENTROIDS}.{depth}") for depth in range(len(network.blocks))]
    state[CENTROIDS] = torch.stack(rows).double()
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder / "model.safetensors"


def _components(output: Any) -> list[str]:
    """Names from a list, or from the released tree of classes."""
    if output is None:
        return list(COMPONENTS)
    if isinstance(output, str):
        return [output]
    if isinstance(output, Mapping):
        kind = str(output.get("_target_", "")).rpartition(".")[2]
        if kind == "MixtureOutput":
            return _components(output["components"])
        if kind not in CLASSES:
            raise InputError(
                f"the checkpoint's distribution {kind or output!r} is not known; known are "
                f"{', '.join(CLASSES)}"
            )
        scale = f"({output['scale']})" if "scale" in output else ""
        return [CLASSES[kind] + scale]
    return [name for part in output for name in _components(part)]
