"""Weights on the experts' inputs."""

import torch

from mixtura.core.configuration import configurable
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.wrapper import SelectionWrapper

__all__ = ["StraightThrough", "WeightInputs"]


@configurable
class WeightInputs(SelectionWrapper):
    """The weight multiplies what goes into the expert, not what comes out.

    The convention of Llama 4 (Meta, 2025).

    Args:
        selection: who chooses.
    """

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """Move the weights to the inputs."""
        moved = routing.with_weight(torch.ones_like(routing.weight))
        moved.input_weight = routing.weight
        return moved


@configurable
class StraightThrough(SelectionWrapper):
    """The router also gets the gradient that its weights would have as factors on the inputs.

    The factor `1 + w - stop_gradient(w)` is 1; ST-MoE's dispatch tensor works like this in the
    implementation that is most in use. Straight-through gradients: Bengio et al., 2013
    (arXiv 1308.3432).

    Args:
        selection: who chooses.
    """

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """Put the factor on the inputs."""
        changed = routing.with_weight(routing.weight)
        changed.input_weight = 1 + routing.weight - routing.weight.detach()
        return changed
