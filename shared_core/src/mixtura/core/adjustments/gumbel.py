"""Gumbel noise on the choice."""

from dataclasses import replace

import torch

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score, Scored

__all__ = ["GumbelNoise"]


@configurable
class GumbelNoise(Adjustment):
    """In training, experts are sampled without replacement: the k largest of `log s + g`.

    The weights stay the scores (GShard's and ST-MoE's optional exploration).

    Args:
        scale: factor on the Gumbel noise `g`.
    """

    activations = frozenset({"softmax", "sigmoid"})

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if scale < 0:
            raise InputError(f"the scale of the noise must not be negative, got {scale}")
        self.scale = scale
        self.noisy = True

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The ranking with noise."""
        if not (self.training and self.noisy and self.scale):
            return scored
        if scored.ranking is not None:
            raise InputError(
                "Gumbel noise comes before what else changes the ranking; list it first"
            )
        log_scores = scored.scores.detach().clamp_min(1e-20).log()
        gumbel = -torch.empty_like(log_scores).exponential_().clamp_min(1e-20).log()
        return replace(scored, ranking=log_scores + self.scale * gumbel)
