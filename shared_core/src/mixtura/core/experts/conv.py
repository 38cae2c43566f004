"""Convolution experts, over sequences or images."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.activations import activation_function
from mixtura.core.experts.base import Experts
from mixtura.core.experts.stacked import init_per_expert

__all__ = ["ConvExperts"]


@configurable
class ConvExperts(Experts):
    """`down(act(up * x))`: a convolution over a unit's positions, then one per position.

    A unit is a sequence (positions, dim) or an image (height, width, dim), channels last like every
    row of the core; its size stays. Where every expert has as many units, as in `all` and in the
    padded dispatch, the experts are one grouped convolution.

    Args:
        num_experts: E.
        dim: channels.
        hidden_dim: channels inside an expert.
        kernel_size: odd number of positions.
        dims: 1 for sequences, 2 for images.
        out_dim: channels of the output; `dim` when not given.
        activation: between the two.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        hidden_dim: int,
        kernel_size: int = 3,
        *,
        dims: int = 1,
        out_dim: int | None = None,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        out_dim = dim if out_dim is None else out_dim
        check_sizes(num_experts=num_experts, dim=dim, hidden_dim=hidden_dim, out_dim=out_dim)
        if dims not in (1, 2):
            raise InputError(f"a convolution runs over 1 or 2 dimensions, got dims={dims}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {kernel_size}; the size would change")
        self.dim = dim
        self.num_experts = num_experts
        self.dims = dims
        self.activation = activation_function(activation)
        self.up = nn.Parameter(torch.empty(num_experts, hidden_dim, dim, *[kernel_size] * dims))
        self.up_bias = nn.Parameter(torch.zeros(num_experts, hidden_dim))
        self.down = nn.Parameter(torch.empty(num_experts, out_dim, hidden_dim, *[1] * dims))
        self.down_bias = nn.Parameter(torch.zeros(num_experts, out_dim))
        init_per_expert(self.up)
        init_per_expert(self.down)

    def one(
        self, expert: int, rows: Float[Tensor, "units *positions dim"]
    ) -> Float[Tensor, "units *positions out"]:
        """Output of one expert."""
        own = slice(expert, expert + 1)
        return self._grouped(rows[None], own)[0]

    def batched(
        self, rows: Float[Tensor, "experts units *positions dim"]
    ) -> Float[Tensor, "experts units *positions out"]:
        """Outputs when every expert has as many units: one grouped convolution."""
        return self._grouped(rows, slice(None))

    def all(
        self, x: Float[Tensor, "units *positions dim"]
    ) -> Float[Tensor, "units experts *positions out"]:
        """Output of every expert for every unit."""
        return self.batched(x.expand(self.num_experts, *x.shape)).transpose(0, 1)

    def _grouped(self, rows: Tensor, own: slice) -> Tensor:
        if rows.ndim != self.dims + 3:
            raise InputError(
                f"units for a {self.dims}-D convolution have {self.dims} dimensions of positions "
                f"and one of channels, got units of shape {tuple(rows.shape[2:])}"
            )
        convolve = F.conv1d if self.dims == 1 else F.conv2d
        experts = len(rows)
        x = rows.movedim(-1, 2).transpose(0, 1).flatten(1, 2)  # units, experts * channels, ...
        padding = self.up.shape[-1] // 2
        hidden = convolve(
            x, self.up[own].flatten(0, 1), self.up_bias[own].flatten(), 1, padding, 1, experts
        )
        y = convolve(
            self.activation(hidden),
            self.down[own].flatten(0, 1),
            self.down_bias[own].flatten(),
            groups=experts,
        )
        return y.unflatten(1, (experts, -1)).transpose(0, 1).movedim(2, -1)
