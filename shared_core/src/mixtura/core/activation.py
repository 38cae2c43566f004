"""From logits to scores."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Activation", "activate"]

Activation = Literal["softmax", "sigmoid", "relu", "identity"]


def activate(
    logits: Float[Tensor, "units routed"], activation: Activation
) -> Float[Tensor, "units routed"]:
    """The score function's non-linearity, in float32 at least."""
    if activation == "softmax":
        return torch.softmax(logits, -1)
    if activation == "sigmoid":
        return torch.sigmoid(logits)
    if activation == "relu":
        return torch.relu(logits)
    return logits
