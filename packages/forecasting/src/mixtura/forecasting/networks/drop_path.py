"""Stochastic depth."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError


class DropPath(nn.Module):
    """Drops a residual branch for whole sequences in training, and scales up those that stay.

    Reference: Huang et al., Deep networks with stochastic depth, ECCV 2016.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"drop_path must be in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
        """The branch, or zeros for the sequences that drew it."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        drawn = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device, dtype=x.dtype)
        return x * (drawn < keep) / keep
