"""Fixed position vectors that are added to tokens."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["sinusoids"]


def sinusoids(length: int, like: Tensor) -> Float[Tensor, "tokens dim"]:
    """Fixed position vectors: sines in even, cosines in odd dimensions (Vaswani et al., 2017)."""
    dim = like.shape[-1]
    position = torch.arange(length, device=like.device, dtype=torch.float32)[:, None]
    exponent = torch.arange(0, dim, 2, device=like.device, dtype=torch.float32) / dim
    angles = position * 10000.0**-exponent
    table = torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)
    return table[:, :dim].to(like.dtype)
