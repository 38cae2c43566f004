"""MoHETS' covariate tokens: calendar and other covariates, fused with the series itself."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.feed_forward import xavier_linear
from mixtura.forecasting.networks.patching import EmbeddingNorm, PatchEmbedding

CALENDAR = 5
"""minute, hour, weekday, day, day of year; hourly data has no minute."""


class CovariateFusion(nn.Module):
    """Mixes the variates and the covariates of each point of time, back to one series per variate.

    This is the only path between variates. The number of variates is fixed by the weights.
    """

    def __init__(self, num_variates: int, num_covariates: int, dim: int) -> None:
        super().__init__()
        hidden = max(CALENDAR, num_variates, dim)
        self.num_covariates = num_covariates
        self.data = xavier_linear(num_variates, hidden, bias=False)
        self.time = xavier_linear(num_covariates, hidden, bias=False)
        self.fuse = xavier_linear(2 * hidden, num_variates, bias=False)

    def forward(
        self, x: Float[Tensor, "batch variates time"], marks: Float[Tensor, "batch features time"]
    ) -> Float[Tensor, "batch variates time"]:
        """Fused series.

        Raises:
            InputError: for another number of covariates than the model was built with.
        """
        if marks.shape[1] == CALENDAR - 1 and self.num_covariates == CALENDAR:
            marks = torch.cat((marks.new_full((len(marks), 1, marks.shape[2]), -0.5), marks), 1)
        if marks.shape[1] != self.num_covariates:
            raise InputError(
                f"the model looks at {self.num_covariates} covariates, got {marks.shape[1]}; give "
                "the ones it was trained with"
            )
        both = torch.cat((self.data(x.transpose(1, 2)), self.time(marks.transpose(1, 2))), -1)
        return self.fuse(both).transpose(1, 2)


class CovariateEmbedding(nn.Module):
    """Patch tokens of the fused series."""

    def __init__(
        self,
        num_variates: int,
        num_covariates: int,
        patch_width: int,
        dim: int,
        *,
        norm: EmbeddingNorm = "layer",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.fusion = CovariateFusion(num_variates, num_covariates, dim)
        self.embedding = PatchEmbedding(patch_width, dim, norm=norm, dropout=dropout)

    def forward(
        self, x: Float[Tensor, "batch variates time"], marks: Float[Tensor, "batch features time"]
    ) -> Float[Tensor, "series patches dim"]:
        """One token sequence for every variate."""
        return self.embedding(self.fusion(x, marks).flatten(0, 1))
