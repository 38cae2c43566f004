"""Stacked experts from and to the layouts that other libraries save."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.experts.glu import GLUExperts

__all__ = ["from_fused", "from_module_list", "to_fused", "to_module_list"]

NAMES = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))  # gate, up, down


@torch.no_grad()
def from_module_list(
    experts: GLUExperts, state: Mapping[str, Tensor], prefix: str = "experts."
) -> GLUExperts:
    """Load `{prefix}{e}.gate_proj.weight` and so on, or w1, w3, w2 as Mixtral called them.

    Args:
        experts: where the weights go, in place.
        state: a state dict.
        prefix: what stands before an expert's number.

    Raises:
        InputError: when a weight is missing or has another shape.
    """
    gate, up, down = next(
        (names for names in NAMES if f"{prefix}0.{names[0]}.weight" in state), NAMES[0]
    )
    for expert in range(experts.num_experts):
        both = [_weight(state, f"{prefix}{expert}.{name}.weight") for name in (gate, up)]
        _copy(experts.gate_up[expert], torch.cat(both), f"{prefix}{expert}.{gate}")
        _copy(
            experts.down[expert],
            _weight(state, f"{prefix}{expert}.{down}.weight"),
            f"{prefix}{expert}.{down}",
        )
    return experts


@torch.no_grad()
def to_module_list(
    experts: GLUExperts,
    prefix: str = "experts.",
    names: tuple[str, str, str] = NAMES[0],
) -> dict[str, Tensor]:
    """The weights as a list of modules would save them.

    Args:
        experts: whose weights.
        prefix: what stands before an expert's number.
        names: of the gate, up and down matrices.
    """
    state = {}
    for expert in range(experts.num_experts):
        gate, up = experts.gate_up[expert].chunk(2)
        for name, weight in zip(names, (gate, up, experts.down[expert]), strict=True):
            state[f"{prefix}{expert}.{name}.weight"] = weight.clone()
    return state


@torch.no_grad()
def from_fused(
    experts: GLUExperts,
    state: Mapping[str, Tensor],
    prefix: str = "experts.",
    *,
    interleaved: bool = False,
    transposed: bool = False,
) -> GLUExperts:
    """Load `{prefix}gate_up_proj` (E, 2 f, d) and `{prefix}down_proj` (E, d, f).

    Args:
        experts: where the weights go, in place.
        state: a state dict.
        prefix: what stands before the names.
        interleaved: gate and up rows alternate, as in gpt-oss.
        transposed: the matrices are (E, d, 2 f) and (E, f, d), as in gpt-oss and Llama 4.
    """
    both = _weight(state, f"{prefix}gate_up_proj")
    down = _weight(state, f"{prefix}down_proj")
    if transposed:
        both, down = both.mT, down.mT
    if interleaved:
        both = torch.cat([both[:, 0::2], both[:, 1::2]], 1)
    _copy(experts.gate_up, both, f"{prefix}gate_up_proj")
    _copy(experts.down, down, f"{prefix}down_proj")
    return experts


@torch.no_grad()
def to_fused(
    experts: GLUExperts,
    prefix: str = "experts.",
    *,
    interleaved: bool = False,
    transposed: bool = False,
) -> dict[str, Tensor]:
    """The weights in two tensors; arguments as for `from_fused`."""
    both, down = experts.gate_up.clone(), experts.down.clone()
    if interleaved:
        both = torch.stack(both.chunk(2, 1), 2).flatten(1, 2)
    if transposed:
        both, down = both.mT.contiguous(), down.mT.contiguous()
    return {f"{prefix}gate_up_proj": both, f"{prefix}down_proj": down}


def _weight(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise InputError(f"the checkpoint has no {name}; check the prefix and the layout")
    return state[name]


def _copy(target: Tensor, source: Tensor, name: str) -> None:
    if target.shape != source.shape:
        raise InputError(
            f"{name} should be {tuple(target.shape)}, got {tuple(source.shape)}; check the sizes, "
            "and whether the layout is transposed"
        )
    target.copy_(source)
