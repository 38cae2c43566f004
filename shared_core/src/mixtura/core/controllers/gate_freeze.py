"""Stop the gate when it has settled."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.controllers.base import Controller
from mixtura.core.memory import Memory
from mixtura.core.router import Router
from mixtura.core.statistics import LayerStatistics

__all__ = ["GateFreeze"]


@configurable
class GateFreeze(Controller[LayerStatistics]):
    """Routers are frozen after `min_steps` once their criterion held `patience` times in a row.

    In continual learning a gate that keeps learning after it has converged forgets (arXiv
    2406.16437). `margin`: the mean gap between a unit's best and second best logit exceeds it;
    `churn`: of a fixed probe batch at most this share changed its first choice since the last
    check; `manual`: only `freeze` does it. A frozen router gets no gradient, no noise and no bias
    update; `new_task` lets all of them learn again.

    Args:
        min_steps: exploration, in optimiser steps.
        criterion: see above.
        margin: gap of the logits.
        churn: share of units.
        patience: checks in a row that have to hold.
    """

    steps: Tensor

    def __init__(
        self,
        min_steps: int,
        *,
        criterion: Literal["margin", "churn", "manual"] = "margin",
        margin: float = 1.0,
        churn: float = 0.01,
        patience: int = 1,
    ) -> None:
        super().__init__()
        check_option("criterion", criterion, ("margin", "churn", "manual"))
        check_number("min_steps", min_steps, least=0)
        check_number("margin", margin, least=0)
        check_number("churn", churn, least=0, most=1)
        check_sizes(patience=patience)
        self.min_steps = min_steps
        self.criterion = criterion
        self.margin = margin
        self.churn = churn
        self.patience = patience
        self.held = Memory()
        self.last = Memory()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def step(
        self, routers: Mapping[str, Router], statistics: Mapping[str, LayerStatistics]
    ) -> None:
        """Count the step and, by the margin, freeze what has settled."""
        self.steps += 1
        if self.criterion != "margin":
            return
        for name, router in routers.items():
            layer = statistics.get(name)
            if layer is not None and layer.mean_margin is not None:
                self._check(name, router, float(layer.mean_margin) > self.margin)

    def probe(
        self, routers: Mapping[str, Router], first_choices: Mapping[str, Int[Tensor, "units"]]
    ) -> None:
        """One check by the churn of a probe batch.

        Args:
            routers: by name.
            first_choices: the expert that each unit of the probe batch chose first, by layer.
        """
        for name, chosen in first_choices.items():
            before = self.last.get(name)
            self.last[name] = chosen.clone()
            if before is not None and before.shape == chosen.shape:
                moved = float((before.to(chosen.device) != chosen).float().mean())
                self._check(name, routers[name], moved <= self.churn)

    def freeze(self, routers: Mapping[str, Router]) -> None:
        """Freeze all of them now."""
        for router in routers.values():
            router.freeze()

    def new_task(self, routers: Mapping[str, Router]) -> None:
        """Let all routers learn again, from the exploration on."""
        self.steps.zero_()
        self.held.clear()
        self.last.clear()
        for router in routers.values():
            router.unfreeze()

    def _check(self, name: str, router: Router, holds: bool) -> None:
        if router.frozen:
            return
        before = int(self.held[name]) if name in self.held else 0
        held = before + 1 if holds else 0
        self.held[name] = torch.tensor(held)
        if int(self.steps) >= self.min_steps and held >= self.patience:
            router.freeze()
