"""Composition: several models that were trained from one seed become one mixture."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mixtura.core.errors import InputError

__all__ = ["BAM", "BAM_SHARED_KV", "BTX", "compose"]

BTX = (r"\b(mlp|ffn|feed_forward|fc1|fc2)\b",)
"""Branch-Train-Mix (Sukhbaatar et al., arXiv 2403.07816): feed-forward layers become experts."""

BAM = (*BTX, r"\b(attn|attention|self_attn)\b")
"""BAM (Zhang et al., NeurIPS 2024, arXiv 2408.08274): attention layers become experts too."""

BAM_SHARED_KV = (
    *BTX,
    r"\b(attn|attention|self_attn)\b.*\b(q|q_proj|query|o|o_proj|out_proj|proj)\b",
)
"""BAM with one set of keys and values: query and output projections become experts."""


def compose(
    states: Sequence[Mapping[str, Tensor]], experts: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is shared is averaged, what becomes experts is stacked.

    Branch-Train-Mix (arXiv 2403.07816); BAM (arXiv 2408.08274).

    Args:
        states: state dicts of the models, all with the same names and shapes.
        experts: patterns of the names that become experts: `BTX`, `BAM`, `BAM_SHARED_KV` or others.

    Returns:
        The averages by name, and the stacks (models, ...) by name. Averages of integers, such as
        counters, are those of the first model.

    Raises:
        InputError: when the models differ, or no name matches.
    """
    if not states:
        raise InputError("a composition needs at least one model, got none")
    first = states[0]
    for number, state in enumerate(states):
        odd = sorted(set(state) ^ set(first))
        if odd:
            raise InputError(f"model {number} differs from the first one in {odd[0]}")
        for name, value in state.items():
            if value.shape != first[name].shape:
                raise InputError(
                    f"{name} is {tuple(value.shape)} in model {number} and "
                    f"{tuple(first[name].shape)} in the first one"
                )
    averages, stacks = {}, {}
    for name, value in first.items():
        together = torch.stack([state[name] for state in states])
        if any(re.search(pattern, name) for pattern in experts):
            stacks[name] = together
        elif value.is_floating_point():
            averages[name] = together.double().mean(0).to(value.dtype)
        else:
            averages[name] = value.clone()
    if not stacks:
        raise InputError(f"no parameter matches {', '.join(experts)}; there is {next(iter(first))}")
    return averages, stacks
