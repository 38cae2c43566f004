"""Observed trajectories as tensors, one batch for all environments."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core import InputError
from mixtura.datasets.dynamics.environments import Environments

__all__ = ["Trajectories"]


@dataclass
class Trajectories:
    """Trajectories of all environments.

    Attributes:
        x: observed states.
        t: times of each environment.
        start: initial states to integrate from; the first observed ones when not given.
        lengths: samples of each trajectory, where they differ; 0 for one that is not there. What
            lies beyond is padding, which no error looks at.
    """

    x: Float[Tensor, "environments trajectories times dims"]
    t: Float[Tensor, "environments times"]
    start: Float[Tensor, "environments trajectories dims"] | None = None
    lengths: Int[Tensor, "environments trajectories"] | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 4 or self.t.shape != (self.x.shape[0], self.x.shape[2]):
            raise InputError(
                "expected states (environments, trajectories, times, dims) and times "
                f"(environments, times), got {tuple(self.x.shape)} and {tuple(self.t.shape)}"
            )

    @classmethod
    def of(cls, environments: Environments, dtype: torch.dtype = torch.float32) -> "Trajectories":
        """A split of a data set as tensors."""
        return cls(
            torch.as_tensor(np.ascontiguousarray(environments.x), dtype=dtype),
            torch.as_tensor(np.ascontiguousarray(environments.t), dtype=dtype),
            lengths=None if environments.lengths is None else torch.tensor(environments.lengths),
        )

    @property
    def x0(self) -> Float[Tensor, "environments trajectories dims"]:
        """Initial states."""
        return self.x[:, :, 0] if self.start is None else self.start

    @property
    def observed(self) -> Bool[Tensor, "environments trajectories times"] | None:
        """Which samples are no padding; None where all are."""
        if self.lengths is None:
            return None
        return torch.arange(self.x.shape[2], device=self.x.device) < self.lengths[..., None]

    @property
    def shown(self) -> Float[Tensor, "environments trajectories times dims"]:
        """The states, with NaN for padding."""
        observed = self.observed
        return self.x if observed is None else self.x.where(observed[..., None], torch.nan)

    @property
    def num_environments(self) -> int:
        """E."""
        return self.x.shape[0]

    def __len__(self) -> int:
        return self.x.shape[0]

    def select(self, index: Tensor | slice) -> "Trajectories":
        """Some environments."""
        start = None if self.start is None else self.start[index]
        lengths = None if self.lengths is None else self.lengths[index]
        return Trajectories(self.x[index], self.t[index], start, lengths)

    def trajectories(self, index: Tensor | slice) -> "Trajectories":
        """Some trajectories of each environment."""
        start = None if self.start is None else self.start[:, index]
        lengths = None if self.lengths is None else self.lengths[:, index]
        return Trajectories(self.x[:, index], self.t, start, lengths)

    def repeat(self, times: int) -> "Trajectories":
        """Each environment several times in a row."""
        if times == 1:
            return self
        return self.select(torch.arange(len(self), device=self.x.device).repeat_interleave(times))

    def to(self, device: torch.device | str) -> "Trajectories":
        """On another device."""
        start = None if self.start is None else self.start.to(device)
        lengths = None if self.lengths is None else self.lengths.to(device)
        return Trajectories(self.x.to(device), self.t.to(device), start, lengths)

    def windows(
        self, length: int, count: int, generator: torch.Generator | None = None
    ) -> "Trajectories":
        """Pieces of `length` samples as further trajectories: the first and `count` random ones.

        The pieces begin at the same samples in all environments, in shorter ones at the same share
        of the way. Vector fields do not depend on time, so only the differences of the times
        matter. Where these change along the way, the pieces do not share a time grid, and one of
        them is drawn instead.
        """
        total = self.x.shape[2]
        if length >= total:
            return self
        first = torch.randint(0, total - length + 1, (count,), generator=generator).tolist()
        starts = [0, *first]
        if not self.is_regular():
            drawn = int(torch.randint(len(starts), (), generator=generator))
            return self.piece(starts[drawn], length)
        if self.lengths is None:
            x = torch.cat([self.x[:, :, s : s + length] for s in starts], 1)
            return Trajectories(x, self.t[:, :length])
        pieces = [self.piece(s, length) for s in starts]
        left = [p.lengths for p in pieces if p.lengths is not None]
        x = torch.cat([p.x for p in pieces], 1)
        return Trajectories(x, self.t[:, :length], lengths=torch.cat(left, 1))

    def piece(self, first: int, length: int) -> "Trajectories":
        """`length` samples from sample `first` on; in shorter environments from the same share."""
        if self.lengths is None:
            place = slice(first, first + length)
            return Trajectories(self.x[:, :, place], self.t[:, place])
        room = (self.lengths.amax(1) - length).clamp_min(0)
        begin = first * room // (self.x.shape[2] - length)
        place = begin[:, None] + torch.arange(length, device=begin.device)
        everywhere = place[:, None, :, None].expand(-1, self.x.shape[1], -1, self.x.shape[3])
        left = (self.lengths - begin[:, None]).clamp(0, length)
        return Trajectories(self.x.gather(2, everywhere), self.t.gather(1, place), lengths=left)

    def sub_intervals(
        self, share: float, generator: torch.Generator | None = None
    ) -> "Trajectories":
        """A random part of each environment's trajectories, resampled to as many samples.

        The part holds at least `share` of the samples. States between samples are interpolated
        linearly, times are not shifted to zero, and the first sample is the new initial state.

        Nzoyem et al., MixER, 2025, arXiv 2502.05335.
        """
        if self.lengths is not None:
            raise InputError(
                "random parts are drawn from trajectories of one length, these have "
                f"{int(self.lengths.min())} to {int(self.lengths.max())} samples; set "
                "sub_intervals to 0"
            )
        total = self.x.shape[2]
        least = int(share * total)
        if not 2 <= least < total:
            raise InputError(
                f"a part of at least {share} of {total} samples cannot be drawn; choose a share "
                "that leaves two samples or more, and fewer than all"
            )
        times, states = [], []
        for x, t in zip(self.x, self.t, strict=True):
            first = int(torch.randint(0, total - least, (), generator=generator))
            end = int(torch.randint(first + least, total, (), generator=generator))
            grid = torch.linspace(float(t[first]), float(t[end - 1]), total).to(t)
            left = (torch.searchsorted(t, grid, right=True) - 1).clamp(0, total - 2)
            part = ((grid - t[left]) / (t[left + 1] - t[left]))[:, None]
            times.append(grid)
            states.append(torch.lerp(x[:, left], x[:, left + 1], part))
        return Trajectories(torch.stack(states), torch.stack(times))

    def is_regular(self) -> bool:
        """Whether the times of each environment are equidistant."""
        steps = self.t.diff(dim=1)  # padding goes on in the last step
        return bool(torch.allclose(steps, steps[:, :1].expand_as(steps), rtol=1e-3))
