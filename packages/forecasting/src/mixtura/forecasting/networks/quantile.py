"""A quantile head on any forecasting network."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.evaluation import evaluating
from mixtura.forecasting.networks.headed import HeadedNetwork
from mixtura.forecasting.quantile_levels import check_levels, interpolation

__all__ = ["QuantileNetwork", "pinball_loss"]

DECILES = tuple(round(0.1 * number, 1) for number in range(1, 10))


@configurable
class QuantileNetwork(HeadedNetwork):
    """Spreads a network's point forecast into quantiles that never cross.

    A small perceptron looks at the normalised window and gives each step of the horizon a shift
    for the level nearest to the middle, and positive gaps to the levels above and below, in units
    of the window's scale. It trains with the pinball loss, together with the network or around a
    frozen one.

    Reference: Koenker and Bassett, Regression quantiles, Econometrica 1978.

    Args:
        network: the network of the point forecast.
        horizon: points predicted.
        levels: quantiles, the nine deciles if not given.
        hidden_dim: width of the perceptron.
        frozen: leave the network as it is and train the head alone.
    """

    def __init__(
        self,
        network: ForecastNetwork,
        horizon: int = 96,
        levels: list[float] | None = None,
        hidden_dim: int = 64,
        frozen: bool = False,
    ) -> None:
        ordered = check_levels(list(DECILES) if levels is None else levels)
        super().__init__(network, horizon, len(ordered), hidden_dim, frozen)
        self.levels = ordered
        self.middle = min(range(len(ordered)), key=lambda j: abs(ordered[j] - 0.5))

    def forward(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "levels batch variates horizon"]:
        """Every level, in increasing order."""
        point, raw, scale = self.head_input(past, marks)
        gaps = F.softplus(raw) * scale
        centre = point + raw[self.middle] * scale
        above = centre + gaps[self.middle + 1 :].cumsum(0)
        below = centre - gaps[: self.middle].flip(0).cumsum(0).flip(0)
        return torch.cat((below, centre[None], above))

    def supervise(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> tuple[
        Float[Tensor, "levels batch variates target"], Float[Tensor, "levels batch variates target"]
    ]:
        """All levels, and what came as often."""
        quantiles = self(past, marks)
        return quantiles, future[..., : self.target_length].expand_as(quantiles)

    def training_loss(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """The pinball loss, in place of a loss of point forecasts."""
        quantiles, target = self.supervise(past, future, marks)
        return pinball_loss(quantiles, target[0], self.levels)

    def forecast_quantiles(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        levels: list[float],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "levels batch variates horizon"]:
        """Levels between the trained ones are interpolated.

        Raises:
            InputError: for a longer horizon, or a level outside the trained ones.
        """
        self.check_horizon(horizon)
        with evaluating(self), torch.no_grad():
            known = self(past, marks)[..., :horizon]
        places = [interpolation(self.levels, level, "the quantile head") for level in levels]
        return torch.stack([known[low].lerp(known[high], share) for low, high, share in places])

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        return self(past, marks)[self.middle, ..., :horizon]


def pinball_loss(
    quantiles: Float[Tensor, "levels *shape"],
    target: Float[Tensor, "*shape"],
    levels: list[float],
) -> Float[Tensor, ""]:
    """Mean of `max(q e, (q - 1) e)` with e = target - quantile, over levels and points."""
    error = target - quantiles
    level = error.new_tensor(levels).view(-1, *[1] * target.ndim)
    return torch.maximum(level * error, (level - 1) * error).mean()
