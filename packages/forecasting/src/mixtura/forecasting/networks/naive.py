"""Forecasts without parameters, to know what a score is worth."""

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import ForecastNetwork


@configurable
class LastValue(ForecastNetwork):
    """Repeats the last point ("Repeat" in the papers' tables).

    Args:
        context_length: look-back; only its last point counts.
    """

    target_length = 1

    def __init__(self, context_length: int = 1) -> None:
        super().__init__()
        self.context_length = context_length

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        return past[..., -1:].expand(*past.shape[:-1], horizon)


@configurable
class SeasonalNaive(ForecastNetwork):
    """Repeats the last season; with less than one season of look-back, the last point.

    Args:
        period: points in a season.
        context_length: look-back, one season if not given.
    """

    target_length = 1

    def __init__(self, period: int = 24, context_length: int | None = None) -> None:
        super().__init__()
        if period < 1:
            raise InputError(f"period must be at least 1, got {period}")
        self.period = period
        self.context_length = period if context_length is None else context_length

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        period = self.period if past.shape[-1] >= self.period else 1
        ahead = torch.arange(horizon, device=past.device) % period
        return past[..., past.shape[-1] - period + ahead]
