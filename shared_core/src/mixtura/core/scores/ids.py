"""Ids of units: tasks, environments, words."""

import torch
from jaxtyping import Int
from torch import Tensor

from mixtura.core.errors import InputError

__all__ = ["flat_ids"]


def flat_ids(ids: Int[Tensor, "*batch"], units: int, count: int) -> Int[Tensor, "units"]:
    """One id per unit.

    Raises:
        InputError: when there are too many or too few, or (where the host can see it) one that is
            not between 0 and `count` - 1.
    """
    flat = ids.reshape(-1)
    if len(flat) != units:
        raise InputError(f"expected one id for each of {units} units, got {len(flat)}")
    if units and flat.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = int(flat.min()), int(flat.max())
        if low < 0 or high >= count:
            raise InputError(f"ids must be between 0 and {count - 1}, got {low} to {high}")
    return flat
