"""Covariates for any forecasting network: a correction of its point forecast."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.wrapped import WrappedNetwork

__all__ = ["CovariateNetwork"]


@configurable
class CovariateNetwork(WrappedNetwork):
    """Corrects a network's forecast by calendar features and covariates, past and future.

    For each step of the horizon and each variate a perceptron sees the covariates of that step,
    the newest covariates of the look-back, and the normalised window; its output, in units of the
    window's scale, is added to the forecast. The last layer begins at zero: before training the
    forecast is the network's own, so a pretrained network (Time-MoE) loses nothing.

    Args:
        network: the network of the point forecast.
        num_covariates: calendar features and covariates together.
        horizon: points predicted.
        hidden_dim: width of the perceptron.
        frozen: leave the network as it is and train the correction alone.
    """

    def __init__(
        self,
        network: ForecastNetwork,
        num_covariates: int,
        horizon: int = 96,
        hidden_dim: int = 32,
        frozen: bool = False,
    ) -> None:
        super().__init__(network, horizon, frozen)
        if num_covariates < 1 or hidden_dim < 1:
            raise InputError(
                "num_covariates and hidden_dim must be at least 1, got "
                f"{num_covariates} and {hidden_dim}"
            )
        self.num_covariates = num_covariates
        self.looks_at_marks = True
        self.seen = min(network.context_length, horizon)
        self.step = nn.Linear(num_covariates, hidden_dim)
        self.before = nn.Linear(num_covariates * self.seen, hidden_dim, bias=False)
        self.window = nn.Linear(self.seen, hidden_dim, bias=False)
        self.correction = nn.Linear(hidden_dim, 1, bias=False)
        nn.init.zeros_(self.correction.weight)

    def forward(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "batch variates horizon"]:
        """The corrected forecast.

        Raises:
            InputError: without covariates, with another number of them, or with too few steps.
        """
        length = past.shape[-1]
        marks = self._checked(marks, length)
        now, ahead = marks[..., :length], marks[..., length : length + self.target_length]
        statistics = WindowStatistics.of(past)
        missing = (max(0, self.seen - length), 0)
        newest = F.pad(statistics.normalise(past)[..., -self.seen :], missing)
        before = F.pad(now[..., -self.seen :], missing).flatten(1)
        shared = self.step(ahead.transpose(1, 2)) + self.before(before).unsqueeze(1)
        hidden = F.gelu(shared.unsqueeze(1) + self.window(newest).unsqueeze(2))
        correction = self.correction(hidden).squeeze(-1)
        return self.point(past, marks) + correction * statistics.scale

    def supervise(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> tuple[Float[Tensor, "batch variates target"], Float[Tensor, "batch variates target"]]:
        """The corrected forecast and what came."""
        return self(past, marks), future[..., : self.target_length]

    def _checked(self, marks: Tensor | None, length: int) -> Float[Tensor, "batch features all"]:
        if marks is None:
            raise InputError(
                f"the model looks at {self.num_covariates} covariates, got none; give the ones it "
                "was trained with"
            )
        if marks.shape[1] != self.num_covariates:
            raise InputError(
                f"the model looks at {self.num_covariates} covariates, got {marks.shape[1]}; give "
                "the ones it was trained with"
            )
        short = length + self.target_length - marks.shape[-1]
        if short > 0:  # a forecast of fewer steps than the head has
            marks = torch.cat((marks, marks[..., -1:].expand(-1, -1, short)), -1)
        return marks

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        return self(past, marks)[..., :horizon]
