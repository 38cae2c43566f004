"""Gumbel noise on the choice."""

from dataclasses import replace

import torch

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score, Scored

__all__ = ["GumbelNoise"]


@configurable
class GumbelNoise(Adjustment):
    """In training, experts are sampled without replacement: the k largest of `log s + g`.

    The weights stay the scores (ST-MoE's optional exploration).

    Kool et al., Stochastic Beams and Where to Find Them, 2019 (arXiv 1903.06059).

    Args:
        scale: factor on the Gumbel noise `g`.
    """

    activations = frozenset({"softmax", "sigmoid"})
    replaces_ranking = True
    own_scale = True

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        check_number("scale", scale, least=0)
        self.scale = scale
        self.noisy = True

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The ranking with noise."""
        if not (self.training and self.noisy and self.scale):
            return scored
        log_scores = scored.scores.detach().clamp_min(1e-20).log()
        gumbel = -torch.empty_like(log_scores).exponential_().clamp_min(1e-20).log()
        return replace(scored, ranking=log_scores + self.scale * gumbel)
