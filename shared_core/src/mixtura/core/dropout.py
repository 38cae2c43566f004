"""Dropout that does not wait for the random generator of the CPU.

Drawing one Bernoulli variable per element is a fifth of a training step of a small Transformer on a
CPU. Here every 64-bit draw decides four elements, so the probability is a multiple of 2^-16.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Dropout", "dropout"]

LEVELS = 2**16


def dropout(x: Float[Tensor, "*shape"], p: float, training: bool = True) -> Float[Tensor, "*shape"]:
    """Zero each element with probability `p` and scale the others to keep the mean.

    Reference: Srivastava et al., Dropout, JMLR 2014.

    Args:
        x: any tensor.
        p: probability, rounded to a multiple of 2^-16 on a CPU.
        training: without it, `x` comes back.
    """
    if not training or p == 0:
        return x
    plain = type(x) in (Tensor, nn.Parameter) and x.device.type == "cpu"
    if not plain or p >= 1 or torch.compiler.is_compiling():
        return F.dropout(x, p, training)
    kept = min(max(round((1 - p) * LEVELS), 1), LEVELS - 1)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    numbers = draws.view(torch.int16)[: x.numel()].view(x.shape)
    return x * (numbers < kept - LEVELS // 2).to(x.dtype).mul_(LEVELS / kept)


class Dropout(nn.Dropout):
    """`dropout` as a module."""

    def forward(self, input: Tensor) -> Tensor:
        """The input with some elements zeroed, in training."""
        return dropout(input, self.p, self.training)
