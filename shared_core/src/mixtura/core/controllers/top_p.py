"""Controlled sparsity: the threshold of top-p follows the number of active experts."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.controllers.base import Controller
from mixtura.core.router import Router
from mixtura.core.selections.top_p import TopP
from mixtura.core.statistics import LayerStatistics

__all__ = ["TopPControl"]


@configurable
class TopPControl(Controller[LayerStatistics]):
    """A PI controller: `P <- clip(P - kp * err - ki * sum(err), low, high)`.

    `err` is the mean number of active experts, over all steered layers, less the target; the same P
    holds in all of them; `LogitNormalization` in each router lets it mean the same. A fixed P gives
    no control of the cost (compare DTop-p, arXiv 2512.13996).

    Args:
        target: mean active experts per unit.
        kp: proportional gain.
        ki: integral gain.
        low: smallest threshold.
        high: largest threshold.
    """

    integral: Tensor

    def __init__(
        self,
        target: float,
        *,
        kp: float = 0.01,
        ki: float = 0.0005,
        low: float = 0.05,
        high: float = 0.99,
    ) -> None:
        super().__init__()
        check_number("target", target, above=0)
        check_number("kp", kp, least=0)
        check_number("ki", ki, least=0)
        check_number("low", low, above=0)
        check_number("high", high, above=low)
        self.target = target
        self.kp = kp
        self.ki = ki
        self.low = low
        self.high = high
        self.register_buffer("integral", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def step(
        self, routers: Mapping[str, Router], statistics: Mapping[str, LayerStatistics]
    ) -> None:
        """Move the threshold against the error."""
        steered = self.steered(TopP, routers, statistics)
        if not steered:
            return
        active = [float(statistics[name].mean_active) for name in steered]
        error = sum(active) / len(active) - self.target
        before = float(next(iter(steered.values())).p)
        integral = float(self.integral) + error
        wanted = before - self.kp * error - self.ki * integral
        after = min(max(wanted, self.low), self.high)
        if after == wanted:
            self.integral.fill_(integral)  # no wind-up while the threshold cannot move
        for selection in steered.values():
            selection.p.fill_(after)
