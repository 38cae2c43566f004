"""What every forecasting network offers, whatever it predicts at once."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.evaluation import evaluating
from mixtura.forecasting.predictable import Predictable


class ForecastNetwork(nn.Module, Predictable):
    """A network from a look-back window (batch, variates, time) to a forecast.

    Attributes:
        context_length: L, the longest look-back.
        target_length: points after the window that a training pair needs.
        reads_missing: where the look-back may be NaN: nowhere, before a series begins, anywhere.
        probabilistic: whether there is `forecast_quantiles`.
        samples: whether there is `forecast_samples`.
        looks_at_marks: whether calendar features and covariates change a forecast.
        differentiable: whether gradients flow through a forecast.
    """

    context_length: int
    target_length: int
    reads_missing: Literal["none", "before", "any"] = "none"
    probabilistic: bool = False
    samples: bool = False
    looks_at_marks: bool = False
    differentiable: bool = True

    @property
    def shortest_context(self) -> int:
        """Points that a look-back must have at least."""
        return 1

    def supervise(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> tuple[Float[Tensor, "batch variates out"], Float[Tensor, "batch variates out"]]:
        """Prediction and target of a training pair.

        Args:
            past: the look-back.
            future: the `target_length` points after it.
            marks: calendar features of both, for networks that look at them.
        """
        raise NotImplementedError

    def training_loss(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[Tensor, ""]:
        """What training makes smaller: `loss` of the training pair.

        A network of distributions or quantiles has a loss of its own and does without `loss`.

        Args:
            past: the look-back.
            future: the `target_length` points after it.
            marks: calendar features of both, for networks that look at them.
            loss: of predictions and targets of one shape.
        """
        return loss(*self.supervise(past, future, marks))

    def forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "batch variates horizon"]:
        """The `horizon` points after the window, without gradients and in evaluation mode.

        Args:
            past: the look-back; not changed.
            horizon: number of points.
            marks: calendar features of the look-back and of the horizon.

        Raises:
            InputError: for a horizon below 1 or one that this network cannot reach.
        """
        self.check_horizon(horizon)
        with evaluating(self), torch.no_grad():
            return self._forecast(past, horizon, marks)

    def forecast_quantiles(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        levels: list[float],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "levels batch variates horizon"]:
        """Quantiles of every point after the window, where the network is `probabilistic`.

        Raises:
            InputError: for a network of point forecasts.
        """
        raise InputError(
            f"{type(self).__name__} makes point forecasts only; calibrate a Forecaster on "
            "validation data, or put the network into a QuantileNetwork or a DistributionNetwork "
            "and train that"
        )

    def forecast_samples(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        count: int,
        marks: Float[Tensor, "batch features all"] | None = None,
        seed: int = 0,
    ) -> Float[Tensor, "samples batch variates horizon"]:
        """Draws of the points after the window, where the network has `samples`.

        Raises:
            InputError: for a network that has none.
        """
        raise InputError(
            f"{type(self).__name__} draws no samples; ask for quantiles, or put the network into a "
            "DistributionNetwork and train that"
        )

    def check_horizon(self, horizon: int) -> None:
        """Refuse a horizon that cannot be reached.

        Raises:
            InputError: for a horizon below 1 or beyond a fixed head.
        """
        if horizon < 1:
            raise InputError(f"horizon must be at least 1, got {horizon}")

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        raise NotImplementedError


class DirectNetwork(ForecastNetwork):
    """A network that predicts a fixed horizon in one step: `forward` is the forecast."""

    def __init__(self, context_length: int, horizon: int) -> None:
        super().__init__()
        if context_length < 1 or horizon < 1:
            raise InputError(
                f"context_length and horizon must be at least 1, got {context_length} and {horizon}"
            )
        self.context_length = context_length
        self.target_length = horizon

    @property
    def shortest_context(self) -> int:
        """The whole window."""
        return self.context_length

    def supervise(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> tuple[Float[Tensor, "batch variates target"], Float[Tensor, "batch variates target"]]:
        """The forecast and what came."""
        return self.predict(past, marks), future[..., : self.target_length]

    def predict(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates target"]:
        """The whole horizon after the newest `context_length` points."""
        return self(self.newest(past))

    def newest(
        self, past: Float[Tensor, "batch variates time"]
    ) -> Float[Tensor, "batch variates context"]:
        """The last `context_length` points.

        Raises:
            InputError: when there are fewer.
        """
        if past.shape[-1] < self.context_length:
            raise InputError(
                f"{type(self).__name__} needs a look-back of {self.context_length} points, got "
                f"{past.shape[-1]}; give it a longer series"
            )
        return past[..., -self.context_length :]

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        return self.predict(past, marks)[..., :horizon]

    def check_horizon(self, horizon: int) -> None:
        """Refuse a horizon that cannot be reached.

        Raises:
            InputError: for a horizon below 1 or beyond the fixed head.
        """
        super().check_horizon(horizon)
        if horizon > self.target_length:
            raise InputError(
                f"{type(self).__name__} was built for a horizon of {self.target_length}, got "
                f"{horizon}; ask for less or train one with a longer horizon"
            )
