"""Chosen experts count equally."""

import torch

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection
from mixtura.core.selections.wrapper import SelectionWrapper

__all__ = ["HardWeights", "UnitWeights"]


@configurable
class UnitWeights(SelectionWrapper):
    """Every chosen expert has the same fixed weight; the task then trains no router.

    The hard sum of FactorLLM (arXiv 2408.11855; weight N / k for k of N pieces of a layer) and of
    an upcycled layer whose router learns from the balance loss alone.

    Args:
        selection: who chooses.
        value: the weight.
    """

    def __init__(self, selection: Selection, value: float = 1.0) -> None:
        super().__init__(selection)
        check_number("value", value, above=0)
        self.value = value

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """Replace the weights."""
        live = routing.expert < routing.num_experts
        return routing.with_weight(torch.where(live, self.value, torch.zeros_like(routing.weight)))


@configurable
class HardWeights(SelectionWrapper):
    """Every chosen expert has the weight 1, but the router gets the gradient of its own weights.

    `1 + w - stop_gradient(w)`: a hard decision that the task trains all the same, as Hecto (arXiv
    2506.22919) makes it with one expert. Let the inner selection leave its weights as they are
    (`TopK(1, renormalize="never")`): a weight that is always 1 has no gradient.

    Args:
        selection: who chooses.
    """

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """Replace the weights, straight through."""
        hard = 1 + routing.weight - routing.weight.detach()
        live = routing.expert < routing.num_experts
        return routing.with_weight(hard.where(live, 0.0))
