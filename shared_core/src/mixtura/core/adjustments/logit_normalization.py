"""Logits of the same spread in every layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score

__all__ = ["LogitNormalization"]


@configurable
class LogitNormalization(Adjustment):
    """`z' = a (z - mean(z)) / sqrt(var(z) + eps)` over a unit's logits; each layer learns its `a`.

    One threshold of a top-p selection then means the same in all layers, whatever the size of their
    logits, and each layer learns how sharply it chooses.

    The idea is that of DTop-p (arXiv 2512.13996); the formula is the plain reading of it.

    Args:
        scale: where `a` begins.
        eps: keeps equal logits from being divided by nothing.
    """

    ranks = False

    def __init__(self, scale: float = 1.0, *, eps: float = 1e-6) -> None:
        super().__init__()
        check_number("scale", scale, above=0)
        check_number("eps", eps, above=0)
        self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.eps = eps

    def on_logits(
        self, logits: Float[Tensor, "units routed"], score: Score
    ) -> Float[Tensor, "units routed"]:
        """The normalised logits."""
        centred = logits - logits.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return self.scale.to(logits.dtype) * centred * torch.rsqrt(variance + self.eps)
