"""Learning-rate schedules: a factor of the step and of the total number of steps."""

import math
from abc import ABC, abstractmethod

import torch

from mixtura.core import configurable
from mixtura.core.errors import InputError

__all__ = ["Constant", "ExponentialByEpoch", "Schedule", "WarmupCosine"]


class Schedule(ABC):
    """A learning-rate factor per optimiser step; every parameter group keeps its own base rate."""

    @abstractmethod
    def factor(self, step: int, total: int, epoch: int) -> float:
        """The factor at optimiser step `step` (from 0) of `total`, in epoch `epoch`."""

    def build(
        self, optimizer: torch.optim.Optimizer, total: int, steps_per_epoch: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The torch scheduler, stepped once per optimiser step."""

        def at(step: int) -> float:
            return self.factor(step, total, step // max(steps_per_epoch, 1))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, at)


@configurable
class Constant(Schedule):
    """The same rate throughout."""

    def __init__(self) -> None:
        pass

    def factor(self, step: int, total: int, epoch: int) -> float:
        """The factor at optimiser step `step` of `total`, in epoch `epoch`."""
        return 1.0


@configurable
class WarmupCosine(Schedule):
    """Linear warm-up, then half a cosine down to a floor.

    Args:
        warmup: Share of all steps (below 1) or number of steps (from 1) of the warm-up.
        final: Factor at the last step.

    Reference: Loshchilov and Hutter, SGDR, 2017 (arXiv:1608.03983), without restarts.
    """

    def __init__(self, warmup: float = 0.05, final: float = 0.0) -> None:
        if warmup < 0:
            raise InputError(f"warmup must be a share or a number of steps, got {warmup}")
        if not 0 <= final <= 1:
            raise InputError(f"final must be a factor between 0 and 1, got {final}")
        self.warmup = warmup
        self.final = final

    def factor(self, step: int, total: int, epoch: int) -> float:
        """The factor at optimiser step `step` of `total`, in epoch `epoch`."""
        warmup = int(self.warmup if self.warmup >= 1 else self.warmup * total)
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, total - warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


@configurable
class ExponentialByEpoch(Schedule):
    """Multiply the rate by `gamma` after each epoch, from epoch `start` on.

    Args:
        gamma: Factor per epoch.
        start: First epoch (from 0) after which the rate falls.
    """

    def __init__(self, gamma: float = 0.5, start: int = 0) -> None:
        if not 0 < gamma <= 1:
            raise InputError(f"gamma must be in (0, 1], got {gamma}")
        self.gamma = gamma
        self.start = start

    def factor(self, step: int, total: int, epoch: int) -> float:
        """The factor at optimiser step `step` of `total`, in epoch `epoch`."""
        return self.gamma ** max(0, epoch - self.start)
