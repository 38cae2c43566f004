"""The non-linearities that experts are configured with, by name."""

from collections.abc import Callable
from difflib import get_close_matches

import torch
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.errors import InputError

__all__ = ["ACTIVATIONS", "activate_", "activation_function", "activation_gradient"]


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _relu_squared(x: Tensor) -> Tensor:
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "gelu_tanh": _gelu_tanh,
    "identity": lambda x: x,
    "leaky_relu": F.leaky_relu,
    "mish": F.mish,
    "quick_gelu": _quick_gelu,
    "relu": F.relu,
    "relu_squared": _relu_squared,
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


def activate_(name: str, x: Tensor) -> Tensor:
    """Overwrite `x` with its activation."""
    aten = torch.ops.aten
    if name == "silu":
        return aten.silu_(x)
    if name == "gelu":
        return aten.gelu_(x)
    if name == "gelu_tanh":
        return aten.gelu_(x, approximate="tanh")
    if name == "relu":
        return x.relu_()
    if name == "sigmoid":
        return x.sigmoid_()
    if name == "tanh":
        return x.tanh_()
    return x if name == "identity" else x.copy_(activation_function(name)(x))


def activation_gradient(name: str, grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """Write the gradient of an activation at `x` into `out`, which may be `grad` itself.

    Args:
        name: of the activation.
        grad: gradient of its output.
        x: its input.
        out: where the gradient of the input goes.
    """
    aten = torch.ops.aten
    if name == "silu":
        return aten.silu_backward.grad_input(grad, x, grad_input=out)
    if name == "gelu":
        return aten.gelu_backward.grad_input(grad, x, grad_input=out)
    if name == "gelu_tanh":
        return aten.gelu_backward.grad_input(grad, x, approximate="tanh", grad_input=out)
    if name == "relu":
        return aten.threshold_backward.grad_input(grad, x, 0, grad_input=out)
    if name == "sigmoid":
        return aten.sigmoid_backward.grad_input(grad, torch.sigmoid(x), grad_input=out)
    if name == "tanh":
        return aten.tanh_backward.grad_input(grad, torch.tanh(x), grad_input=out)
    if name == "identity":
        return out.copy_(grad)
    with torch.enable_grad():
        inside = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(activation_function(name)(inside), inside, grad)
    return out.copy_(found)
