"""Observed trajectories as tensors, one batch for all environments."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
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
    """

    x: Float[Tensor, "environments trajectories times dims"]
    t: Float[Tensor, "environments times"]
    start: Float[Tensor, "environments trajectories dims"] | None = None

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
        )

    @property
    def x0(self) -> Float[Tensor, "environments trajectories dims"]:
        """Initial states."""
        return self.x[:, :, 0] if self.start is None else self.start

    @property
    def num_environments(self) -> int:
        """E."""
        return self.x.shape[0]

    def __len__(self) -> int:
        return self.x.shape[0]

    def select(self, index: Tensor | slice) -> "Trajectories":
        """Some environments."""
        start = None if self.start is None else self.start[index]
        return Trajectories(self.x[index], self.t[index], start)

    def repeat(self, times: int) -> "Trajectories":
        """Each environment several times in a row."""
        if times == 1:
            return self
        start = None if self.start is None else self.start.repeat_interleave(times, 0)
        return Trajectories(
            self.x.repeat_interleave(times, 0), self.t.repeat_interleave(times, 0), start
        )

    def to(self, device: torch.device | str) -> "Trajectories":
        """On another device."""
        start = None if self.start is None else self.start.to(device)
        return Trajectories(self.x.to(device), self.t.to(device), start)

    def windows(
        self, length: int, count: int, generator: torch.Generator | None = None
    ) -> "Trajectories":
        """Pieces of `length` samples as further trajectories: the first and `count` random ones.

        The pieces begin at the same samples in all environments. Vector fields do not depend on
        time, so only the differences of the times matter. Where these change along the way, the
        pieces do not share a time grid, and one of them is drawn instead.
        """
        total = self.x.shape[2]
        if length >= total:
            return self
        first = torch.randint(0, total - length + 1, (count,), generator=generator).tolist()
        starts = [0, *first]
        if not self.is_regular():
            drawn = starts[int(torch.randint(len(starts), (), generator=generator))]
            piece = slice(drawn, drawn + length)
            return Trajectories(self.x[:, :, piece], self.t[:, piece])
        x = torch.cat([self.x[:, :, s : s + length] for s in starts], 1)
        return Trajectories(x, self.t[:, :length])

    def sub_intervals(
        self, share: float, generator: torch.Generator | None = None
    ) -> "Trajectories":
        """A random part of each environment's trajectories, resampled to as many samples.

        The part holds at least `share` of the samples. States between samples are interpolated
        linearly, times are not shifted to zero, and the first sample is the new initial state.

        Nzoyem et al., MixER, 2025, arXiv 2502.05335.
        """
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
        steps = self.t.diff(dim=1)
        return bool(torch.allclose(steps, steps[:, :1].expand_as(steps), rtol=1e-3))
