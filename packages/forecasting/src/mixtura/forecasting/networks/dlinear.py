"""DLinear: one linear map for the trend, one for the rest."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import DirectNetwork
from mixtura.forecasting.networks.channel_linear import ChannelLinear


@configurable
class DLinear(DirectNetwork):
    """Moving average = trend; `y = W_s (x - trend) + W_t trend`.

    Reference: Zeng et al., Are Transformers effective for time series forecasting?, AAAI 2023.

    Args:
        context_length: look-back L.
        horizon: points predicted.
        kernel_size: width of the moving average, odd.
        num_variates: give it for one pair of maps per variate; without it all share one.
        init: weights begin at 1/L (the benchmark code) or as nn.Linear does (the first release).
    """

    def __init__(
        self,
        context_length: int = 336,
        horizon: int = 96,
        kernel_size: int = 25,
        num_variates: int | None = None,
        init: Literal["mean", "default"] = "mean",
    ) -> None:
        super().__init__(context_length, horizon)
        if kernel_size % 2 == 0:
            raise InputError(f"kernel_size must be odd, got {kernel_size}")
        self.kernel_size = kernel_size
        self.seasonal = ChannelLinear(context_length, horizon, num_variates)
        self.trend = ChannelLinear(context_length, horizon, num_variates)
        if init == "mean":
            nn.init.constant_(self.seasonal.weight, 1 / context_length)
            nn.init.constant_(self.trend.weight, 1 / context_length)

    def forward(
        self, x: Float[Tensor, "batch variates time"]
    ) -> Float[Tensor, "batch variates horizon"]:
        """The forecast of every variate."""
        trend = moving_average(x, self.kernel_size)
        return self.seasonal(x - trend) + self.trend(trend)


def moving_average(
    x: Float[Tensor, "batch variates time"], kernel_size: int
) -> Float[Tensor, "batch variates time"]:
    """Centred mean of `kernel_size` points; the ends are padded with their own value."""
    side = (kernel_size - 1) // 2
    return F.avg_pool1d(F.pad(x, (side, side), mode="replicate"), kernel_size, stride=1)
