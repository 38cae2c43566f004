"""Layer normalisations by name."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.errors import InputError

NormKind = Literal["rms", "layer"]


class RMSNorm(nn.Module):
    """`x / rms(x) * weight`, the statistic in float32 whatever the precision of `x`.

    Reference: Zhang and Sennrich, Root Mean Square Layer Normalization, NeurIPS 2019.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The normalised vectors, in the dtype of `x`."""
        wide = x.float()
        if x.device.type == "cpu":  # where `rms_norm` is made of four passes
            norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
            scaled = wide * (norm.square() / x.shape[-1] + self.eps).rsqrt()
        else:
            scaled = F.rms_norm(wide, (x.shape[-1],), eps=self.eps)
        return scaled.type_as(x) * self.weight


def make_norm(kind: NormKind, dim: int) -> nn.Module:
    """An RMSNorm (eps 1e-6) or a LayerNorm (eps 1e-5, with bias) over the last dimension.

    Raises:
        InputError: for another kind.
    """
    if kind == "rms":
        return RMSNorm(dim)
    if kind == "layer":
        return nn.LayerNorm(dim)
    raise InputError(f"norm must be 'rms' or 'layer', got {kind!r}")
