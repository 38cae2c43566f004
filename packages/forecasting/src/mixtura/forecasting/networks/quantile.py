"""A quantile head on any forecasting network."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.quantile_levels import check_levels, interpolation

__all__ = ["QuantileNetwork", "pinball_loss"]

DECILES = tuple(round(0.1 * number, 1) for number in range(1, 10))


@configurable
class QuantileNetwork(ForecastNetwork):
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

    probabilistic = True

    def __init__(
        self,
        network: ForecastNetwork,
        horizon: int = 96,
        levels: list[float] | None = None,
        hidden_dim: int = 64,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        network.check_horizon(horizon)
        self.network, self.frozen = network, frozen
        self.levels = check_levels(list(DECILES) if levels is None else levels)
        self.context_length, self.target_length = network.context_length, horizon
        self.middle = min(range(len(self.levels)), key=lambda j: abs(self.levels[j] - 0.5))
        self.seen = min(network.context_length, 4 * horizon)
        self.hidden = nn.Linear(self.seen, hidden_dim)
        self.spread = nn.Linear(hidden_dim, len(self.levels) * horizon)
        nn.init.normal_(self.spread.weight, std=0.01)
        network.requires_grad_(not frozen)

    @property
    def shortest_context(self) -> int:
        """What the network needs."""
        return self.network.shortest_context

    def forward(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "levels batch variates horizon"]:
        """Every level, in increasing order."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            point = self.network._forecast(past, self.target_length, marks)
        statistics = WindowStatistics.of(past[..., -self.seen :])
        window = F.pad(
            statistics.normalise(past[..., -self.seen :]), (max(0, self.seen - past.shape[-1]), 0)
        )
        raw = self.spread(F.gelu(self.hidden(window))).unflatten(-1, (len(self.levels), -1))
        raw = raw.movedim(-2, 0)
        gaps = F.softplus(raw) * statistics.scale
        centre = point + raw[self.middle] * statistics.scale
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
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                known = self(past, marks)[..., :horizon]
        finally:
            self.train(training)
        places = [interpolation(self.levels, level, "the quantile head") for level in levels]
        return torch.stack([known[low].lerp(known[high], share) for low, high, share in places])

    def check_horizon(self, horizon: int) -> None:
        """Refuse what the head was not built for.

        Raises:
            InputError: for a horizon below 1 or a longer one.
        """
        super().check_horizon(horizon)
        if horizon > self.target_length:
            raise InputError(
                f"the quantile head was built for a horizon of {self.target_length}, got "
                f"{horizon}; ask for less or train one with a longer horizon"
            )

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
