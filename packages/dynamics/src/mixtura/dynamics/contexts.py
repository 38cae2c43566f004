"""Contexts: how they begin, which are near, and which serve as expansion points."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import InputError

__all__ = ["PoolStrategy", "Start", "context_pool", "initial_contexts", "mean_distance"]

PoolStrategy = Literal["NF", "NF*", "RA", "SF"]
Start = Literal["zero", "normal", "mean"]


def initial_contexts(
    num_environments: int,
    context_dim: int,
    start: Start = "zero",
    *,
    known: Float[Tensor, "known context"] | None = None,
    std: float = 1e-2,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "environments context"]:
    """Contexts (E, C) to begin with: zero, small random numbers, or the mean of `known`."""
    shape = (num_environments, context_dim)
    if start == "zero":
        return torch.zeros(shape)
    if start == "normal":
        return std * torch.randn(shape, generator=generator)
    if start != "mean":
        raise InputError(f"contexts start from zero, normal or mean, got {start!r}")
    if known is None:
        raise InputError("contexts that start from the mean need known contexts; train first")
    return known.detach().mean(0, keepdim=True).repeat(num_environments, 1)


def mean_distance(
    contexts: Float[Tensor, "units context"],
) -> Float[Tensor, "units units"]:
    """Mean absolute difference of each pair."""
    return (contexts[:, None] - contexts[None]).abs().mean(-1)


@torch.no_grad()
def context_pool(
    contexts: Float[Tensor, "units context"],
    size: int,
    strategy: PoolStrategy = "NF",
    generator: torch.Generator | None = None,
) -> Int[Tensor, "units size"]:
    """Expansion points of each environment, as indices among the same contexts.

    NF takes the nearest ones, itself included (so that a pool of one changes nothing); NF* the
    nearest others; RA a random choice; SF those of smallest mean absolute value.

    Nzoyem et al., Neural Context Flows, 2024, arXiv 2405.02154.
    """
    units = len(contexts)
    available = units - 1 if strategy == "NF*" else units
    if not 1 <= size <= available:
        raise InputError(
            f"a pool of {size} contexts cannot be filled by {strategy} from {units} environments; "
            f"take 1 to {available}"
        )
    if strategy == "RA":
        rows = [torch.randperm(units, generator=generator)[:size] for _ in range(units)]
        return torch.stack(rows).to(contexts.device)
    if strategy == "SF":
        order = contexts.abs().mean(1).argsort(dim=0, stable=True)[:size]
        return order.expand(units, size)
    if strategy not in ("NF", "NF*"):
        raise InputError(f"a pool is filled by NF, NF*, RA or SF, got {strategy!r}")
    order = mean_distance(contexts).argsort(dim=1, stable=True)
    if strategy == "NF":
        return order[:, :size]
    others = order[order != torch.arange(units, device=order.device)[:, None]]
    return others.view(units, units - 1)[:, :size]
