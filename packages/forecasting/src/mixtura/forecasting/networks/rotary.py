"""Rotary position encodings: two layouts with one interface.

Reference: Su et al., RoFormer: enhanced Transformer with rotary position embedding, 2021.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core.errors import InputError


class Rotary:
    """Rotates pairs of a head's dimensions by `position * theta^(-2i / head_dim)`.

    Angles are computed in float32 on every call: no table has to be stored, moved or extended.
    """

    def __init__(self, head_dim: int, theta: float = 10000.0) -> None:
        if head_dim % 2:
            raise InputError(
                f"rotary position encoding needs an even head dimension, got {head_dim}; "
                "change dim or num_heads"
            )
        self.head_dim = head_dim
        self.theta = theta

    def angles(
        self, positions: Int[Tensor, "*batch tokens"]
    ) -> Float[Tensor, "*batch tokens half"]:
        """One angle per position and pair."""
        exponent = torch.arange(0, self.head_dim, 2, device=positions.device) / self.head_dim
        return positions.unsqueeze(-1).float() * self.theta**-exponent

    def __call__(
        self,
        x: Float[Tensor, "batch heads tokens head_dim"],
        positions: Int[Tensor, "*batch tokens"],
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        """`x` rotated; `positions` are shared by the batch or given for each series."""
        angles = self.angles(positions)
        if angles.ndim == 3:
            angles = angles.unsqueeze(1)
        return self.rotate(x.float(), angles.cos(), angles.sin()).type_as(x)

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotate the pairs of the layout."""
        raise NotImplementedError


class InterleavedRotary(Rotary):
    """Pairs are neighbours: dimensions (0, 1), (2, 3), ..."""

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Complex multiplication of (even + i odd) by (cos + i sin)."""
        if x.device.type == "cpu" and not torch.compiler.is_compiling():  # one pass, not eight
            if any(stride % 2 for stride in x.stride()[:-1]):
                x = x.contiguous()
            pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
            return torch.view_as_real(pairs * torch.complex(cos, sin)).flatten(-2)
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class HalfSplitRotary(Rotary):
    """Pairs are halves: dimensions (0, d/2), (1, d/2 + 1), ..."""

    def rotate(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Complex multiplication of (first half + i second half) by (cos + i sin)."""
        first, second = x.chunk(2, -1)
        if not (torch.is_grad_enabled() or torch.compiler.is_compiling()):
            y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
            left, right = y.chunk(2, -1)
            torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1)
            torch.mul(second, cos, out=right).addcmul_(first, sin)
            return y
        return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)
