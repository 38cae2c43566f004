"""A distribution head on any forecasting network."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Normal, StudentT
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.distributions import NegativeBinomial, draw
from mixtura.forecasting.networks.evaluation import evaluating
from mixtura.forecasting.networks.headed import HeadedNetwork

__all__ = ["DistributionNetwork", "quantile_of"]

Family = Literal["student_t", "normal", "negative_binomial"]
PARAMETERS = {"student_t": 3, "normal": 2, "negative_binomial": 2}
SMALLEST = 1e-6


@configurable
class DistributionNetwork(HeadedNetwork):
    """Turns a network's point forecast into a distribution for every step of the horizon.

    A small perceptron looks at the normalised window and shifts the point forecast, which becomes
    the centre, and gives the spread, in units of the window's scale. It trains with the negative
    log-likelihood. `student_t` and `normal` are for measurements, `negative_binomial` for counts,
    which must not be scaled (`scale: false` of the data module). The steps of the horizon are
    independent given the window, as in the direct heads of gluonts.

    Reference: Salinas et al., DeepAR, International Journal of Forecasting 2020 (arXiv 1704.04110)
    for likelihood heads and the negative binomial distribution of counts.

    Args:
        network: the network of the point forecast.
        horizon: points predicted.
        distribution: family.
        hidden_dim: width of the perceptron.
        frozen: leave the network as it is and train the head alone.
    """

    samples = True

    def __init__(
        self,
        network: ForecastNetwork,
        horizon: int = 96,
        distribution: Family = "student_t",
        hidden_dim: int = 64,
        frozen: bool = False,
    ) -> None:
        if distribution not in PARAMETERS:
            raise InputError(
                f"distribution must be one of {', '.join(PARAMETERS)}, got {distribution!r}"
            )
        super().__init__(network, horizon, PARAMETERS[distribution], hidden_dim, frozen)
        self.distribution: Family = distribution

    def forward(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "parameters batch variates horizon"]:
        """The parameters of every point's distribution.

        Degrees of freedom, location and scale of `student_t`, location and scale of `normal`, total
        count and log odds of `negative_binomial`.
        """
        point, raw, scale = self.head_input(past, marks)
        if self.distribution == "negative_binomial":
            mean = F.softplus(point / scale + raw[0]) * scale + SMALLEST
            count = F.softplus(raw[1]) + SMALLEST
            return torch.stack((count, mean.log() - count.log()))
        place = (point + raw[0] * scale, (F.softplus(raw[1]) + SMALLEST) * scale)
        if self.distribution == "normal":
            return torch.stack(place)
        return torch.stack((2 + F.softplus(raw[2]), *place))

    def following(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Distribution:
        """The distribution of every point of the horizon: (batch, variates, horizon)."""
        parameters = self(past, marks).unbind(0)
        if self.distribution == "negative_binomial":
            return NegativeBinomial(*parameters)
        family = StudentT if self.distribution == "student_t" else Normal
        return family(*parameters, validate_args=False)

    def training_loss(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """The mean negative log-likelihood, in place of a loss of point forecasts.

        Raises:
            InputError: for values below 0 where the distribution is one of counts.
        """
        target = future[..., : self.target_length]
        if self.distribution == "negative_binomial" and bool((target < 0).any()):
            raise InputError(
                "negative_binomial is a distribution of counts, and a value to forecast is "
                f"{float(target.min()):g}; give unscaled counts (scale: false in the data), or "
                "choose student_t"
            )
        return -self.following(past, marks).log_prob(target).mean()

    def forecast_quantiles(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        levels: list[float],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "levels batch variates horizon"]:
        """Exact quantiles of every step.

        Raises:
            InputError: for a longer horizon than the head's.
        """
        self.check_horizon(horizon)
        found = self._evaluated(past, marks)
        return torch.stack([quantile_of(found, level)[..., :horizon] for level in levels])

    def forecast_samples(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        count: int,
        marks: Float[Tensor, "batch features all"] | None = None,
        seed: int = 0,
    ) -> Float[Tensor, "samples batch variates horizon"]:
        """Independent draws for every step.

        Raises:
            InputError: for a longer horizon than the head's, or no sample.
        """
        self.check_horizon(horizon)
        if count < 1:
            raise InputError(f"the number of samples must be at least 1, got {count}")
        found = self._evaluated(past, marks)
        shape = (count, *past.shape[:-1], self.target_length)
        generator = torch.Generator(past.device).manual_seed(seed)
        return draw(found, shape, generator)[..., :horizon]

    def _evaluated(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Distribution:
        with evaluating(self), torch.no_grad():
            return self.following(past, marks)

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        return self.following(past, marks).mean[..., :horizon]


def quantile_of(distribution: Distribution, level: float) -> Float[Tensor, "*shape"]:
    """The value below which `distribution` has the probability `level`, in double precision."""
    from scipy.stats import nbinom, norm, t

    def array(values: Tensor) -> np.ndarray:
        return values.detach().double().cpu().numpy()

    if isinstance(distribution, NegativeBinomial):
        success = torch.sigmoid(-distribution.logits.double())
        found = nbinom.ppf(level, array(distribution.total_count), array(success))
        return torch.as_tensor(found).to(distribution.logits)
    assert isinstance(distribution, StudentT | Normal)
    centre, spread = array(distribution.loc), array(distribution.scale)
    if isinstance(distribution, StudentT):
        found = t.ppf(level, array(distribution.df), centre, spread)
    else:
        found = norm.ppf(level, centre, spread)
    return torch.as_tensor(found).to(distribution.loc)
