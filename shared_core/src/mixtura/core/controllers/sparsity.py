"""ReMoE's controller: the pressure on the scores follows the sparsity."""

from collections.abc import Mapping

import torch

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.controllers.base import Controller
from mixtura.core.router import Router
from mixtura.core.selections.positive import Positive
from mixtura.core.statistics import LayerStatistics

__all__ = ["SparsityControl"]


@configurable
class SparsityControl(Controller[LayerStatistics]):
    """`lambda <- 1.2 lambda` while too many experts are active, `lambda / 1.2` otherwise.

    Sparsity is `1 - active / (U R)`, averaged over the layers; the target is `1 - k / R`. `lambda`
    lies in the selections (`Positive.coefficient`), in float32, and multiplies `ActiveScores`.

    Wang et al., ReMoE, ICLR 2025 (arXiv 2412.14711, eq. 8).

    Args:
        k: experts per unit that are aimed at.
        factor: of a step.
    """

    def __init__(self, k: float, *, factor: float = 1.2) -> None:
        super().__init__()
        check_number("k", k, above=0)
        check_number("factor", factor, above=1)
        self.k = k
        self.factor = factor

    @torch.no_grad()
    def step(
        self, routers: Mapping[str, Router], statistics: Mapping[str, LayerStatistics]
    ) -> None:
        """Press more or less."""
        steered = self.steered(Positive, routers, statistics)
        if not steered:
            return
        excess = 0.0
        for name in steered:
            routed = routers[name].score_function.num_experts
            excess += (float(statistics[name].mean_active) - self.k) / routed
        for selection in steered.values():
            selection.coefficient.mul_(self.factor if excess > 0 else 1 / self.factor)
            selection.coefficient.clamp_(1e-20, 1e10)  # a router that cannot obey must not overflow
