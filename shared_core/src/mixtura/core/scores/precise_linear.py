"""Linear maps of routers: float32 at least, whatever the precision around."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

__all__ = ["precise_linear"]


def precise_linear(
    x: Float[Tensor, "units in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, "out"] | None = None,
) -> Float[Tensor, "units out"]:
    """`x W^T + b` in the precision of `x`, in float32 if that is lower; autocast has no say."""
    with torch.autocast(x.device.type, enabled=False):
        precise = torch.promote_types(x.dtype, torch.float32)
        bias = None if bias is None else bias.to(precise)
        return F.linear(x.to(precise), weight.to(precise), bias)
