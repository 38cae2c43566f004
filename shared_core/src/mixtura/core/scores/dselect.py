"""DSelect-k: a smooth gate that becomes sparse."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score

__all__ = ["DSelectScore", "smooth_step"]


@configurable
class DSelectScore(Score):
    """`sum_i softmax(a)_i r^(i)`, where k selectors `r^(i)` each pick an expert by a binary code.

    Selector i has m = ceil(log2 E) smooth bits `q = S(z_i)`; expert e's share is the product of
    `q_j` over the ones and `1 - q_j` over the zeros of its binary number. The gate is dense at the
    start and exactly sparse once the bits are 0 or 1, so use it with `Positive` (activation
    "identity"), which drops exact zeros, and press with `SelectorEntropy`.

    With `dim` the bits follow from each unit; without it they are parameters: one gate for all
    units of a task. The selectors are kept as `aux["selectors"]`.

    Hazimeh et al., DSelect-k, NeurIPS 2021 (arXiv 2106.03760, eq. 3-6).

    Args:
        num_experts: E.
        k: number of selectors.
        dim: width of what the router looks at, for a gate per unit.
        width: the smooth step rises over this width (gamma).
    """

    gives = "weights"
    bits: Tensor

    def __init__(
        self, num_experts: int, k: int, *, dim: int | None = None, width: float = 1.0
    ) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts, k=k, dim=dim)
        check_number("width", width, above=0)
        self.num_experts = num_experts
        self.k = k
        self.width = width
        self.num_bits = math.ceil(math.log2(num_experts))
        inputs = () if dim is None else (dim,)
        self.code = nn.Parameter(torch.empty(k * self.num_bits, *inputs))
        self.mixture = nn.Parameter(torch.zeros(k, *inputs))
        nn.init.uniform_(self.code, -width / 100, width / 100)
        numbers = torch.arange(num_experts)[:, None] >> torch.arange(self.num_bits)
        self.register_buffer("bits", (numbers & 1).float(), persistent=False)

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """The gate of each unit."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            code, mixture = self.code.to(precise), self.mixture.to(precise)
            if code.ndim == 1:
                code, mixture = code[None], mixture[None]
            else:
                code, mixture = F.linear(x.to(precise), code), F.linear(x.to(precise), mixture)
            q = smooth_step(code.unflatten(-1, (self.k, 1, self.num_bits)), self.width)
            ones = self.bits.to(precise)
            selectors = (q * ones + (1 - q) * (1 - ones)).prod(-1)
            gate = torch.einsum("uk,uke->ue", mixture.softmax(-1), selectors)
        return gate.expand(x.shape[0], -1), {"selectors": selectors}


def smooth_step(t: Float[Tensor, "*shape"], width: float) -> Float[Tensor, "*shape"]:
    """0 below -width/2, 1 above width/2, a cubic with flat ends between."""
    inside = t.clamp(-width / 2, width / 2)
    return -2 / width**3 * inside**3 + 3 / (2 * width) * inside + 0.5
