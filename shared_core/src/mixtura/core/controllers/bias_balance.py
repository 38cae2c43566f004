"""Load balance without a loss: a bias on the choice follows the counts."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from mixtura.core.adjustments.balance_bias import BalanceBias
from mixtura.core.checks import check_number, check_option
from mixtura.core.configuration import configurable
from mixtura.core.controllers.base import Controller
from mixtura.core.memory import Memory
from mixtura.core.router import Router
from mixtura.core.statistics import LayerStatistics

__all__ = ["BiasBalance"]


@configurable
class BiasBalance(Controller[LayerStatistics]):
    """`b_e <- b_e + rate * sign(mean(c) - c_e)` for every `BalanceBias`.

    The sign is what the paper found best. With few units per step the bias swings: lower `rate`,
    smooth the counts with `momentum`, or skip small steps with `min_units`.

    Wang et al., Auxiliary-Loss-Free Load Balancing, 2024 (arXiv 2408.15664, algorithm 1);
    DeepSeek-V3 stops near the end of training.

    Args:
        rate: step of the bias.
        update: by the sign of the violation, or in proportion to its share of the mean.
        zero_mean: take the mean out of every update, as torchtitan does.
        momentum: of a running mean of the counts; 0 for none.
        min_units: steps with fewer units are skipped.
        until_step: the bias stays from this step on.
    """

    steps: Tensor

    def __init__(
        self,
        rate: float = 0.001,
        *,
        update: Literal["sign", "proportional"] = "sign",
        zero_mean: bool = False,
        momentum: float = 0.0,
        min_units: int = 1,
        until_step: int | None = None,
    ) -> None:
        super().__init__()
        check_number("rate", rate, least=0)
        check_option("update", update, ("sign", "proportional"))
        check_number("momentum", momentum, least=0, below=1)
        check_number("min_units", min_units, least=0)
        check_number("until_step", until_step or 0, least=0)
        self.rate = rate
        self.update = update
        self.zero_mean = zero_mean
        self.momentum = momentum
        self.min_units = min_units
        self.until_step = until_step
        self.smoothed = Memory()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def step(
        self, routers: Mapping[str, Router], statistics: Mapping[str, LayerStatistics]
    ) -> None:
        """Move the bias of each layer against its load."""
        self.steps += 1
        if self.until_step is not None and int(self.steps) > self.until_step:
            return
        for name, part in self.steered(BalanceBias, routers, statistics).items():
            layer = statistics[name]
            if int(layer.num_units) < self.min_units:
                continue
            counts = layer.counts[: len(part.bias)].to(part.bias)
            if self.momentum:
                counts = counts / counts.sum().clamp_min(1)
                if name in self.smoothed:
                    counts = self.smoothed[name].to(counts).lerp(counts, 1 - self.momentum)
                self.smoothed[name] = counts
            violation = counts.mean() - counts
            if self.update == "sign":
                violation = violation.sign()
            else:
                violation = violation / counts.mean().clamp_min(1e-20)
            delta = self.rate * violation
            part.bias += delta - delta.mean() if self.zero_mean else delta
