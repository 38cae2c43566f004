"""Averages over the units of all calls."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.routing import Routing

__all__ = ["kept", "mean_over_units"]


def mean_over_units(
    calls: Sequence[Routing], term: Callable[[Routing], Float[Tensor, "units"]]
) -> Float[Tensor, ""]:
    """The mean of a term per unit over all calls, padded and forced units left out."""
    total: Tensor | None = None
    units: Tensor | float = 0.0
    for call in calls:
        values = term(call)
        if call.free is None:
            here, count = values.sum(), torch.tensor(float(len(values)), device=values.device)
        else:
            here, count = values.where(call.free, 0.0).sum(), call.free.sum().to(values.dtype)
        total = here if total is None else total + here
        units = units + count
    if total is None:
        raise InputError("a loss needs at least one routing")
    return total / torch.as_tensor(units).clamp_min(1)


def kept(call: Routing, name: str, by: str) -> Tensor:
    """What a score function kept for a loss under `name`.

    Raises:
        InputError: when it did not; `by` says which one would have.
    """
    if name not in call.aux:
        raise InputError(f"this loss needs {name!r} of a routing, which only {by} gives")
    return call.aux[name]
