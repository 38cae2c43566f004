"""Layer normalisations by name."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.errors import InputError

NormKind = Literal["rms", "layer", "dyt"]


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


class DynamicTanh(nn.Module):
    """`weight * tanh(alpha * x) + bias`: bounds the values without a statistic of them.

    Reference: Zhu et al., Transformers without normalization, CVPR 2025 (arXiv 2503.10622).
    """

    def __init__(self, dim: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Every value alone."""
        return torch.tanh(self.alpha * x) * self.weight + self.bias


def make_norm(kind: NormKind, dim: int, *, alpha: float = 0.5) -> nn.Module:
    """A normalisation of tokens by name.

    Args:
        kind: "rms" (eps 1e-6), "layer" (eps 1e-5, with bias) or "dyt", a dynamic tanh.
        dim: width of a token.
        alpha: where the scale of a dynamic tanh begins.

    Raises:
        InputError: for another kind.
    """
    if kind == "rms":
        return RMSNorm(dim)
    if kind == "layer":
        return nn.LayerNorm(dim)
    if kind == "dyt":
        return DynamicTanh(dim, alpha)
    raise InputError(f"norm must be 'rms', 'layer' or 'dyt', got {kind!r}")
