"""Scores from elsewhere."""

from dataclasses import replace

import torch
from torch import Tensor

from mixtura.core.edits.base import Edit, per_unit
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Scored

__all__ = ["OverrideScores"]


class OverrideScores(Edit):
    """The router's scores are replaced; the choice and the normalisation follow from the new ones.

    Args:
        scores: per expert, or per unit and expert.
        where: the units whose scores are replaced; all when not given.
    """

    stage = "override"

    def __init__(self, scores: Tensor, *, where: Tensor | None = None) -> None:
        self.scores = scores
        self.where = where

    def on_scored(self, scored: Scored) -> Scored:
        """The scores with the given ones in place."""
        new = per_unit(self.scores, scored.scores, "a score override").expand_as(scored.scores)
        new = new.to(scored.scores.dtype)
        if self.where is not None:
            if self.where.shape != scored.scores.shape[:1]:
                raise InputError(
                    f"`where` must name each of the {scored.scores.shape[0]} units, got shape "
                    f"{tuple(self.where.shape)}"
                )
            new = torch.where(self.where[:, None], new, scored.scores)
        return replace(scored, scores=new)
