"""Quantiles around a point forecast from its errors on validation data."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.quantile_levels import check_levels, interpolation

__all__ = ["ConformalResiduals"]

USUAL_LEVELS = tuple(round(0.05 * number, 2) for number in range(1, 20))
OUTER_LEVELS = (0.005, 0.01, 0.025, 0.975, 0.99, 0.995)


@configurable
class ConformalResiduals(nn.Module):
    """Split conformal prediction, for each step of the horizon and each variate by itself.

    Of n residuals `y - forecast` the quantile above the middle is the ceil((n + 1) q)-th smallest,
    the one below it the floor((n + 1) q)-th: if the residuals were exchangeable with the future
    one, it would lie between the quantiles a and b with a probability of at least b - a. Windows
    that overlap, and series that drift, are not quite exchangeable.

    Reference: Vovk et al., Algorithmic learning in a random world, 2005; Lei et al.,
    Distribution-free predictive inference for regression, JASA 2018.

    Args:
        horizon: steps that were calibrated.
        num_variates: variates that were; 1 for all together.
        levels: quantiles that are kept.
    """

    offsets: Tensor

    def __init__(self, horizon: int, num_variates: int, levels: list[float]) -> None:
        super().__init__()
        if horizon < 1 or num_variates < 1:
            raise InputError(
                f"horizon and num_variates must be at least 1, got {horizon} and {num_variates}"
            )
        self.horizon, self.num_variates = horizon, num_variates
        self.levels = check_levels(levels)
        self.register_buffer("offsets", torch.zeros(len(self.levels), num_variates, horizon))

    @classmethod
    def of(
        cls,
        residuals: Float[Tensor, "windows variates horizon"],
        levels: Sequence[float] | None = None,
    ) -> "ConformalResiduals":
        """Calibrate on residuals.

        Args:
            residuals: what came minus the forecast.
            levels: quantiles to keep; the usual ones that so many windows can tell if not given.

        Raises:
            InputError: when there are too few windows for a level.
        """
        count, variates, horizon = residuals.shape
        if not bool(residuals.isfinite().all()):
            raise InputError("a residual is not finite; calibrate on rows without empty cells")
        if levels is None:
            candidates = sorted(USUAL_LEVELS + OUTER_LEVELS)
            levels = [level for level in candidates if 1 <= _rank(level, count) <= count]
            if not levels:
                raise InputError(
                    f"calibration needs more than {count} windows; give a longer frame"
                )
        ordered = check_levels(levels)
        for level in ordered:
            if not 1 <= _rank(level, count) <= count:
                need = math.ceil(1 / min(level, 1 - level)) - 1
                raise InputError(
                    f"the quantile {level:g} needs at least {need} calibration windows, got "
                    f"{count}; give a longer frame or a level nearer to 0.5"
                )
        calibrated = cls(horizon, variates, ordered)
        ranked = residuals.sort(0).values
        for number, level in enumerate(ordered):
            calibrated.offsets[number] = ranked[_rank(level, count) - 1]
        return calibrated

    def forward(
        self, forecast: Float[Tensor, "batch variates horizon"], levels: Sequence[float]
    ) -> Float[Tensor, "levels batch variates horizon"]:
        """The forecast, shifted to each level.

        Raises:
            InputError: for a longer horizon, other variates, or a level outside the kept ones.
        """
        variates, horizon = forecast.shape[1:]
        if horizon > self.horizon:
            raise InputError(
                f"the forecaster was calibrated for a horizon of {self.horizon}, got {horizon}; "
                "ask for less or calibrate it again"
            )
        if self.num_variates not in (1, variates):
            raise InputError(
                f"the forecaster was calibrated on {self.num_variates} columns, got {variates}; "
                "give the same columns"
            )
        offsets = self.offsets[..., :horizon].to(forecast)
        shifted = []
        for level in levels:
            low, high, share = interpolation(self.levels, level, "the calibration")
            shifted.append(forecast + offsets[low].lerp(offsets[high], share))
        return torch.stack(shifted)


def _rank(level: float, count: int) -> int:
    exact = (count + 1) * level
    near = round(exact)
    if math.isclose(exact, near, abs_tol=1e-9):
        return near
    return math.ceil(exact) if level >= 0.5 else math.floor(exact)
