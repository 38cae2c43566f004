"""A network around a network of point forecasts."""

from jaxtyping import Float
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork

__all__ = ["WrappedNetwork"]


class WrappedNetwork(ForecastNetwork):
    """Adds something to the forecast of another network, for a fixed horizon.

    What is added trains together with the network or around a frozen one; a network whose forecasts
    carry no gradient (Time-MoE generates them) always stays as it is.

    Args:
        network: the network of the point forecast.
        horizon: points predicted.
        frozen: leave the network as it is.
    """

    def __init__(self, network: ForecastNetwork, horizon: int, frozen: bool) -> None:
        super().__init__()
        network.check_horizon(horizon)
        if network.probabilistic:
            raise InputError(
                f"{type(network).__name__} has a distribution of its own; put a "
                f"{type(self).__name__} around a network of point forecasts"
            )
        self.network = network
        self.frozen = frozen or not network.differentiable
        self.context_length, self.target_length = network.context_length, horizon
        self.looks_at_marks = network.looks_at_marks
        self.differentiable = True
        network.requires_grad_(not self.frozen)

    @property
    def shortest_context(self) -> int:
        """What the network needs."""
        return self.network.shortest_context

    def point(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        """The network's own forecast of the whole horizon."""
        seen = marks if self.network.looks_at_marks else None
        if self.frozen:
            return self.network.forecast(past, self.target_length, seen)
        return self.network._forecast(past, self.target_length, seen)

    def check_horizon(self, horizon: int) -> None:
        """Refuse what this was not built for.

        Raises:
            InputError: for a horizon below 1 or a longer one.
        """
        super().check_horizon(horizon)
        if horizon > self.target_length:
            raise InputError(
                f"{type(self).__name__} was built for a horizon of {self.target_length}, got "
                f"{horizon}; ask for less or train one with a longer horizon"
            )
