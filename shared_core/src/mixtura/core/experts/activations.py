"""The non-linearities that experts are configured with, by name."""

from collections.abc import Callable
from difflib import get_close_matches

import torch
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.errors import InputError

__all__ = ["ACTIVATIONS", "activation_function"]


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "identity": lambda x: x,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """The function called `name`.

    Raises:
        InputError: when there is none; the nearest names are offered.
    """
    if name not in ACTIVATIONS:
        near = get_close_matches(name, ACTIVATIONS, n=3) or sorted(ACTIVATIONS)
        raise InputError(f"unknown activation {name!r}; did you mean {', '.join(near)}?")
    return ACTIVATIONS[name]
