"""Samples whose rows the router weighs itself."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.units import SampleUnits

__all__ = ["AttendedSamples"]


@configurable
class AttendedSamples(nn.Module, SampleUnits):
    """A whole sample decides as one; the router sees `sum_i softmax(q . x_i / sqrt(d))_i x_i`.

    Attention pooling with a learned query, which starts at zero: a mean.

    Args:
        dim: width of a row.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_sizes(dim=dim)
        self.query = nn.Parameter(torch.zeros(dim))

    def pool(self, units: Float[Tensor, "units *rows dim"]) -> Float[Tensor, "units dim"]:
        """The weighted sum of each sample's rows."""
        if units.ndim == 2:
            return units
        rows = units.flatten(1, -2)
        share = (rows @ self.query.to(rows.dtype) / rows.shape[-1] ** 0.5).softmax(-1)
        return (share[..., None] * rows).sum(1)
