"""Later choices count by chance."""

import torch

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection
from mixtura.core.selections.wrapper import SelectionWrapper

__all__ = ["RandomDrop"]


@configurable
class RandomDrop(SelectionWrapper):
    """In training every choice after the first is kept with probability min(1, weight / threshold).

    GShard's and ST-MoE's second expert (arXiv 2006.16668, arXiv 2202.08906); weights are not
    renormalised afterwards. Outside training everything is kept.

    Args:
        selection: who chooses; best expert first.
        threshold: weight from which on a choice is always kept.
    """

    changes = frozenset({"units"})

    def __init__(self, selection: Selection, threshold: float = 0.2) -> None:
        super().__init__(selection)
        check_number("threshold", threshold, above=0)
        self.threshold = threshold
        self.noisy = True

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """Drop by chance."""
        if not (self.training and self.noisy):
            return routing
        assert routing.index is not None  # units chose
        weight = routing.weight.detach().view_as(routing.index)
        kept = torch.rand_like(weight) < weight / self.threshold
        kept[:, 0] = True
        return routing.keep(kept.reshape(-1) & (routing.expert < routing.num_experts))
