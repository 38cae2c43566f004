"""Routing units: what one decision is about, and which rows follow it.

Experts and dispatch see units (units, ..., dim) and never learn what a unit was. Shape letters:
B samples, T positions, d width, U units, r rows of a unit.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.checks import check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError

__all__ = ["Pool", "SampleUnits", "SegmentUnits", "TokenUnits", "Units", "pool_rows"]

Pool = Literal["none", "flatten", "mean", "first", "last"]
Granularity = Literal["row", "unit"]


class Units:
    """Base of the unit maps."""

    def group(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "units *rows dim"]:
        """Units of `x`, each with its rows."""
        raise NotImplementedError

    def ungroup(
        self, y: Float[Tensor, "units *rows out"], shape: torch.Size
    ) -> Float[Tensor, "*batch out"]:
        """The rows back in their places.

        Args:
            y: what the experts made of the units.
            shape: shape of the input that was grouped.
        """
        raise NotImplementedError

    def pool(self, units: Float[Tensor, "units *rows dim"]) -> Float[Tensor, "units routed_dim"]:
        """What the router sees of each unit."""
        raise NotImplementedError

    def group_mask(self, mask: Bool[Tensor, "*batch"], shape: torch.Size) -> Bool[Tensor, "units"]:
        """Which units hold at least one real row."""
        raise NotImplementedError

    def num_samples(self, shape: torch.Size) -> int:
        """Samples that the units of an input of this shape come from, in equal shares."""
        return shape[0]


@configurable
class TokenUnits(Units):
    """Every row decides for itself: token, patch, point, query, user."""

    def group(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "units dim"]:
        """All leading dimensions in one."""
        return x.reshape(-1, x.shape[-1])

    def ungroup(
        self, y: Float[Tensor, "units out"], shape: torch.Size
    ) -> Float[Tensor, "*batch out"]:
        """The leading dimensions as they were."""
        return y.reshape(*shape[:-1], y.shape[-1])

    def pool(self, units: Float[Tensor, "units dim"]) -> Float[Tensor, "units dim"]:
        """The row itself."""
        return units

    def group_mask(self, mask: Bool[Tensor, "*batch"], shape: torch.Size) -> Bool[Tensor, "units"]:
        """The mask, flat."""
        check_mask(mask, shape[:-1])
        return mask.reshape(-1)


@configurable
class SegmentUnits(Units):
    """A segment of `size` neighbouring tokens decides as one.

    The sequence is padded with zeros on the right to whole segments; the padding is cut off again
    (Seg-MoE, arXiv 2601.21641).

    Args:
        size: tokens of a segment.
        pool: what the router sees: all tokens flattened, their mean, the first or the last.
        granularity: whether an expert works on each token (`row`) or the flat segment (`unit`).
    """

    def __init__(
        self, size: int, *, pool: Pool = "flatten", granularity: Granularity = "row"
    ) -> None:
        check_sizes(size=size)
        check_option("pool", pool, get_args(Pool))
        check_option("granularity", granularity, get_args(Granularity))
        self.size = size
        self.pooling: Pool = pool
        self.granularity = granularity

    def group(self, x: Float[Tensor, "*batch tokens dim"]) -> Float[Tensor, "units *rows"]:
        """Segments (units, size, dim), or flattened (units, size * dim) for unit granularity."""
        missing = -x.shape[-2] % self.size
        if missing:
            x = F.pad(x, (0, 0, 0, missing))
        if self.granularity == "unit":
            return x.reshape(-1, self.size * x.shape[-1])
        return x.reshape(-1, self.size, x.shape[-1])

    def ungroup(
        self, y: Float[Tensor, "units *rows"], shape: torch.Size
    ) -> Float[Tensor, "*batch tokens out"]:
        """Tokens in their places, padding removed."""
        tokens = shape[-2]
        width = y.shape[-1] // (self.size if self.granularity == "unit" else 1)
        padded = tokens + -tokens % self.size
        return y.reshape(*shape[:-2], padded, width)[..., :tokens, :]

    def pool(self, units: Float[Tensor, "units *rows"]) -> Float[Tensor, "units routed_dim"]:
        """The segment as the router sees it."""
        if self.granularity == "unit" and self.pooling != "flatten":
            units = units.unflatten(-1, (self.size, -1))
        return pool_rows(units, self.pooling)

    def group_mask(
        self, mask: Bool[Tensor, "*batch tokens"], shape: torch.Size
    ) -> Bool[Tensor, "units"]:
        """Segments with at least one real token."""
        check_mask(mask, shape[:-1])
        padded = F.pad(mask, (0, -mask.shape[-1] % self.size), value=False)
        return padded.reshape(-1, self.size).any(-1)


@configurable
class SampleUnits(Units):
    """A whole sample decides as one: all its rows follow. Tasks and environments are samples too.

    Args:
        pool: what the router sees of a sample with several rows; `none` when it is always given
            something else to look at.
    """

    def __init__(self, *, pool: Pool = "mean") -> None:
        check_option("pool", pool, get_args(Pool))
        self.pooling: Pool = pool

    def group(self, x: Float[Tensor, "units *rows dim"]) -> Float[Tensor, "units *rows dim"]:
        """The samples as they are."""
        return x

    def ungroup(
        self, y: Float[Tensor, "units *rows out"], shape: torch.Size
    ) -> Float[Tensor, "units *rows out"]:
        """The samples as they are."""
        return y

    def pool(self, units: Float[Tensor, "units *rows dim"]) -> Float[Tensor, "units routed_dim"]:
        """The sample as the router sees it."""
        return pool_rows(units, self.pooling)

    def group_mask(self, mask: Bool[Tensor, "units"], shape: torch.Size) -> Bool[Tensor, "units"]:
        """The mask, one flag per sample."""
        check_mask(mask, shape[:1])
        return mask


def pool_rows(units: Float[Tensor, "units *rows"], pool: Pool) -> Float[Tensor, "units routed_dim"]:
    """Make one vector of each unit's rows."""
    if units.ndim == 2:
        return units
    if pool == "flatten":
        return units.flatten(1)
    rows = units.flatten(1, -2)
    if pool == "mean":
        return rows.mean(1)
    if pool in ("first", "last"):
        return rows[:, 0 if pool == "first" else -1]
    raise InputError(
        f"a unit of shape {tuple(units.shape[1:])} has to be pooled for the router; choose pool "
        "'flatten', 'mean', 'first' or 'last', or give route_on"
    )


def check_mask(mask: Tensor, shape: torch.Size) -> None:
    """Refuse a mask of another shape, or one that does not hold true and false."""
    if mask.shape != shape or mask.dtype != torch.bool:
        raise InputError(
            f"the mask must be {tuple(shape)} of true (real) and false (padding), got "
            f"{tuple(mask.shape)} of {mask.dtype}"
        )
