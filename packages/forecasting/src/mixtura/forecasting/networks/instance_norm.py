"""Normalisation of each window and variate by its own mean and scale."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class WindowStatistics(NamedTuple):
    """Mean and scale over the time of a window; no gradient flows through them.

    Reference: Liu et al., Non-stationary Transformers, NeurIPS 2022.
    """

    mean: Float[Tensor, "*batch 1"]
    scale: Float[Tensor, "*batch 1"]

    @classmethod
    def of(cls, x: Float[Tensor, "*batch time"], eps: float = 1e-5) -> "WindowStatistics":
        """Mean and `sqrt(population variance + eps)` of every series of `x`."""
        mean = x.detach().mean(-1, keepdim=True)
        variance = torch.var(x.detach() - mean, dim=-1, correction=0, keepdim=True)
        return cls(mean, torch.sqrt(variance + eps))

    def normalise(self, x: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
        """To zero mean and unit scale."""
        return (x - self.mean) / self.scale

    def restore(self, y: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch time"]:
        """Back to the units of the series."""
        return y * self.scale + self.mean
