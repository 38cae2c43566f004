"""Fourier analysis layers: part of the output is periodic in the input.

Reference: Dong et al., FAN: Fourier analysis networks, 2024 (arXiv 2410.02675).
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import StackedExperts, configurable
from mixtura.core.dropout import dropout
from mixtura.core.errors import InputError


def fourier(projected: Float[Tensor, "*batch rows"], waves: int) -> Float[Tensor, "*batch out"]:
    """`cos(p), sin(p), gelu(r)` of a projection whose first `waves` rows are p and the others r."""
    wave, rest = projected.split((waves, projected.shape[-1] - waves), -1)  # one node, not two
    return torch.cat((wave.cos(), wave.sin(), F.gelu(rest)), -1)


def check_width(width: int) -> int:
    """A quarter of an output width: the number of waves.

    Raises:
        InputError: when it does not divide.
    """
    if width % 4:
        raise InputError(f"a Fourier layer's output width must be divisible by 4, got {width}")
    return width // 4


class FourierLayer(nn.Module):
    """A quarter cosines, a quarter sines of the same frequencies, half an ordinary layer.

    With a gate g, one learnt number, the periodic half is weighted by g and the other by 1 - g, and
    the other's activation is SiLU instead of GELU. A `last` layer leaves that half linear.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        gate: bool = False,
        bias: bool = False,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.last = last
        waves = check_width(out_dim)
        self.wave = nn.Linear(in_dim, waves, bias=bias)
        self.rest = nn.Linear(in_dim, out_dim - 2 * waves, bias=bias)
        self.gate = nn.Parameter(torch.zeros(1)) if gate else None
        for linear in (self.wave, self.rest):
            nn.init.normal_(linear.weight)  # large on purpose: the weights are the frequencies
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """The concatenated parts."""
        wave, rest = self.wave(x), self.rest(x)
        if not self.last:
            rest = F.gelu(rest) if self.gate is None else F.silu(rest)
        if self.gate is None:
            return torch.cat((wave.cos(), wave.sin(), rest), -1)
        g = torch.sigmoid(self.gate)
        return torch.cat((g * wave.cos(), g * wave.sin(), (1 - g) * rest), -1)


class FourierFeedForward(nn.Module):
    """Two Fourier layers; with `glu` the first is multiplied by the sigmoid of a third.

    There is no linear output layer: half of the output lies between -1 and 1.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        *,
        glu: bool = False,
        gate: bool = False,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.up = FourierLayer(dim, hidden_dim, gate=gate, bias=bias)
        self.gate = FourierLayer(dim, hidden_dim, gate=gate, bias=bias) if glu else None
        self.down = FourierLayer(hidden_dim, dim, gate=gate, bias=bias)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Acts on every token alone."""
        hidden = self.up(x)
        if self.gate is not None:
            hidden = hidden * torch.sigmoid(self.gate(x))
        return self.down(dropout(hidden, self.dropout, self.training))


@configurable
class FourierExperts(StackedExperts):
    """`FourierFeedForward` experts with stacked weights, of each layer the waves' rows first.

    Args:
        num_experts: E.
        dim: width of a row.
        hidden_dim: width inside an expert.
        glu: whether there is a third Fourier layer as a gate.
        bias: whether the layers have offsets.
        dropout: on the hidden activations, in training.
    """

    def __init__(
        self,
        num_experts: int,
        dim: int,
        hidden_dim: int,
        *,
        glu: bool = False,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_experts, self.dropout = num_experts, dropout
        self.hidden_waves, self.out_waves = check_width(hidden_dim), check_width(dim)
        hidden_rows, out_rows = hidden_dim - self.hidden_waves, dim - self.out_waves
        shapes = {
            "up": (num_experts, hidden_rows, dim),
            "gate": (num_experts, hidden_rows, dim) if glu else None,
            "down": (num_experts, out_rows, hidden_dim),
        }
        for name, shape in shapes.items():
            weight = None if shape is None else nn.Parameter(torch.randn(shape))
            offset = None
            if bias and shape is not None:
                offset = nn.Parameter(torch.zeros(shape[:2]))
            self.register_parameter(name, weight)
            self.register_parameter(f"{name}_bias", offset)

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Any) -> Tensor:
        """The two or three layers."""
        projected = layout.linear(rows, weights["up"], weights["up_bias"])
        hidden = fourier(projected, self.hidden_waves)
        if weights["gate"] is not None:
            gate = layout.linear(rows, weights["gate"], weights["gate_bias"])
            hidden = hidden * torch.sigmoid(fourier(gate, self.hidden_waves))
        hidden = dropout(hidden, self.dropout, self.training)
        return fourier(layout.linear(hidden, weights["down"], weights["down_bias"]), self.out_waves)
