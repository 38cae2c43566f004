"""NLinear: a linear map of what differs from the last value."""

from jaxtyping import Float
from torch import Tensor

from mixtura.core import configurable
from mixtura.forecasting.networks.base import DirectNetwork
from mixtura.forecasting.networks.channel_linear import ChannelLinear


@configurable
class NLinear(DirectNetwork):
    """`y = W (x - x_last) + x_last`.

    Reference: Zeng et al., Are Transformers effective for time series forecasting?, AAAI 2023.

    Args:
        context_length: look-back L.
        horizon: points predicted.
        num_variates: give it for one map per variate; without it all share one.
    """

    def __init__(
        self, context_length: int = 336, horizon: int = 96, num_variates: int | None = None
    ) -> None:
        super().__init__(context_length, horizon)
        self.project = ChannelLinear(context_length, horizon, num_variates)

    def forward(
        self, x: Float[Tensor, "batch variates time"]
    ) -> Float[Tensor, "batch variates horizon"]:
        """The forecast of every variate."""
        last = x[..., -1:].detach()
        return self.project(x - last) + last
