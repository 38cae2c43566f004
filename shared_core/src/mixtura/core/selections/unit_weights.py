"""Chosen experts count equally."""

import torch

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection
from mixtura.core.selections.wrapper import SelectionWrapper

__all__ = ["UnitWeights"]


@configurable
class UnitWeights(SelectionWrapper):
    """Every chosen expert has the same fixed weight; the task then trains no router.

    The hard sum of FactorLLM (weight N / k for k of N pieces of a layer) and of an upcycled layer
    whose router learns from the balance loss alone.

    Args:
        selection: who chooses.
        value: the weight.
    """

    def __init__(self, selection: Selection, value: float = 1.0) -> None:
        super().__init__(selection)
        if not 0 < value < float("inf"):
            raise InputError(f"the weight must be positive and finite, got {value}")
        self.value = value

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """Replace the weights."""
        live = routing.expert < routing.num_experts
        return routing.with_weight(torch.where(live, self.value, torch.zeros_like(routing.weight)))
