"""What quantile and distribution heads share: a network of point forecasts, and its window."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.wrapped import WrappedNetwork

__all__ = ["HeadInput", "HeadedNetwork"]


class HeadInput(NamedTuple):
    """What a head turns into quantiles or parameters.

    Attributes:
        point: the network's forecast.
        raw: the perceptron's outputs, in units of the window's scale.
        scale: of the window.
    """

    point: Float[Tensor, "batch variates horizon"]
    raw: Float[Tensor, "outputs batch variates horizon"]
    scale: Float[Tensor, "batch variates 1"]


class HeadedNetwork(WrappedNetwork):
    """A forecasting network with a small perceptron beside it that looks at the normalised window.

    Args:
        network: the network of the point forecast.
        horizon: points predicted.
        outputs: numbers that the head needs for each of them.
        hidden_dim: width of the perceptron.
        frozen: leave the network as it is and train the head alone.
    """

    probabilistic = True

    def __init__(
        self, network: ForecastNetwork, horizon: int, outputs: int, hidden_dim: int, frozen: bool
    ) -> None:
        super().__init__(network, horizon, frozen)
        if hidden_dim < 1:
            raise InputError(f"hidden_dim must be at least 1, got {hidden_dim}")
        self.outputs = outputs
        self.seen = min(network.context_length, 4 * horizon)
        self.hidden = nn.Linear(self.seen, hidden_dim)
        self.spread = nn.Linear(hidden_dim, outputs * horizon)
        nn.init.normal_(self.spread.weight, std=0.01)

    def head_input(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None,
    ) -> HeadInput:
        """The point forecast, and what the perceptron sees in the window."""
        point = self.point(past, marks)
        newest = past[..., -self.seen :]
        statistics = WindowStatistics.of(newest)
        window = F.pad(statistics.normalise(newest), (max(0, self.seen - past.shape[-1]), 0))
        raw = self.spread(F.gelu(self.hidden(window))).unflatten(-1, (self.outputs, -1))
        return HeadInput(point, raw.movedim(-2, 0), statistics.scale)
