"""Capacity prediction: the predictor should know which units the experts took."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.routing import Routing

__all__ = ["CapacityPrediction", "capacity_prediction"]


def capacity_prediction(calls: Sequence[Routing]) -> Float[Tensor, ""]:
    """Mean binary cross-entropy of the predicted against the taken units, over all experts.

    Padded and forced units do not count.

    Args:
        calls: routings of layers whose score function is a `CapacityPredictor`.

    Source: DiffMoE (arXiv 2503.14487, section 3.2).
    """
    losses: list[Tensor] = []
    counts: list[Tensor] = []
    for call in calls:
        logits = call.aux.get("capacity_logits")
        if logits is None:
            raise InputError(
                "a capacity prediction loss needs a predictor; use CapacityPredictor as the score"
            )
        taken = call.chosen[:, : logits.shape[-1]].to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits, taken, reduction="none")
        free = torch.ones_like(loss[:, :1], dtype=torch.bool)
        free = free if call.free is None else call.free[:, None]
        losses.append(loss.where(free, 0.0).sum())
        counts.append(free.sum() * logits.shape[-1])
    if not losses:
        raise InputError("a capacity prediction loss needs at least one routing")
    return torch.stack(losses).sum() / torch.stack(counts).sum().clamp_min(1)


@configurable
class CapacityPrediction(Loss):
    """`capacity_prediction` as a configured loss.

    Args:
        weight: factor of the term; 1 in DiffMoE's configurations. The predictor's input is
            detached, so the weight touches the rest of the model only where gradients are clipped
            by their common norm.
    """

    name = "capacity_prediction"

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__(weight)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return capacity_prediction(calls)
