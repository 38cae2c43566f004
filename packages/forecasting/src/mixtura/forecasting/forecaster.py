"""What a user calls: a trained network with the names and the scale of its data."""

from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.datasets import SeriesTable, calendar_features, future_stamps
from mixtura.forecasting.frames import future_frame, series_of
from mixtura.forecasting.networks import (
    DLinear,
    ForecastNetwork,
    ITransformer,
    MoHETS,
    NLinear,
    PatchTST,
    SegMoE,
    TimeMoE,
)
from mixtura.training.sharing import Shared

__all__ = [
    "DLinearForecaster",
    "Forecaster",
    "ITransformerForecaster",
    "MoHETSForecaster",
    "NLinearForecaster",
    "PatchTSTForecaster",
    "SegMoEForecaster",
    "TimeMoEForecaster",
    "forecaster_class",
]


@configurable
class Forecaster(nn.Module, Shared):
    """Frames in, frames out, in the units of the data.

    Example:
        forecaster = Forecaster.from_pretrained("folder")
        future = forecaster.predict(frame, horizon=96)

    Args:
        network: The trained network.
        channels: Columns it was trained on; any columns if not given, each forecast by itself.
        mean: Subtracted from each column before the network sees it.
        scale: Each column is divided by it.
        frequency: Step of the data as a pandas alias.
        calendar: Whether the network looks at calendar features.
    """

    network_class: ClassVar[type[nn.Module]] = ForecastNetwork

    def __init__(
        self,
        network: ForecastNetwork,
        channels: list[str] | None = None,
        mean: list[float] | None = None,
        scale: list[float] | None = None,
        frequency: str | None = None,
        calendar: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(network, self.network_class):
            raise InputError(
                f"{type(self).__name__} holds a {self.network_class.__name__}, got a "
                f"{type(network).__name__}; use Forecaster, which holds any"
            )
        self.network = network
        self.channels, self.mean, self.scale = channels, mean, scale
        self.frequency, self.calendar = frequency, calendar

    def predict(
        self,
        frame: Any,
        horizon: int,
        *,
        date_column: str | None = "date",
        missing: Literal["raise", "fill"] = "raise",
    ) -> pd.DataFrame:
        """The `horizon` rows that follow a frame.

        Args:
            frame: pandas or polars; rows in order of time, dates in `date_column` or in the index.
            horizon: rows to forecast.
            date_column: column of the timestamps.
            missing: refuse empty cells, or fill them with the reading before.

        Returns:
            A pandas frame with the same columns and the dates of the future as its index.

        Raises:
            InputError: for a frame that cannot be read, too few rows, another frequency than the
                training data's, or a horizon that the network cannot reach.
        """
        table = series_of(frame, self.channels, date_column=date_column, missing=missing)
        if self.frequency and table.frequency and table.frequency != self.frequency:
            raise InputError(
                f"the model was trained on data with step {self.frequency!r}, the frame has "
                f"{table.frequency!r}; resample it"
            )
        mean, scale = self._scaling(table.values.shape[1])
        scaled = (table.values[-self.network.context_length :] - mean) / scale
        past = torch.from_numpy(scaled.T.copy()).to(next(self.buffers_and_parameters()))[None]
        marks = self._marks(table, past.shape[-1], horizon) if self.calendar else None
        forecast = self.network.forecast(past, horizon, marks)[0].T.double().cpu().numpy()
        return future_frame(table, forecast * scale + mean)

    def buffers_and_parameters(self) -> Any:
        """Everything with a device and a precision; a plain tensor for networks without any."""
        yield from self.parameters()
        yield from self.buffers()
        yield torch.empty(0)

    def _scaling(self, variates: int) -> tuple[np.ndarray, np.ndarray]:
        mean = np.zeros(variates) if self.mean is None else np.array(self.mean)
        scale = np.ones(variates) if self.scale is None else np.array(self.scale)
        if len(mean) != variates or len(scale) != variates:
            raise InputError(
                f"the model was trained on {len(mean)} columns, the frame has {variates}; give the "
                "same columns"
            )
        return mean, scale

    def _marks(self, table: SeriesTable, length: int, horizon: int) -> torch.Tensor | None:
        if table.stamps is None or table.frequency is None:
            raise InputError(
                "the model looks at the calendar, and the frame has no dates; add them"
            )
        after = future_stamps(table.stamps[-1], table.frequency, horizon)
        stamps = np.concatenate([table.stamps[-length:], after])
        return torch.from_numpy(calendar_features(stamps, table.frequency).T).float()[None]


@configurable
class SegMoEForecaster(Forecaster):
    """A `Forecaster` that holds a Seg-MoE."""

    network_class = SegMoE


@configurable
class MoHETSForecaster(Forecaster):
    """A `Forecaster` that holds a MoHETS."""

    network_class = MoHETS


@configurable
class TimeMoEForecaster(Forecaster):
    """A `Forecaster` that holds a Time-MoE."""

    network_class = TimeMoE


@configurable
class PatchTSTForecaster(Forecaster):
    """A `Forecaster` that holds a PatchTST."""

    network_class = PatchTST


@configurable
class ITransformerForecaster(Forecaster):
    """A `Forecaster` that holds an iTransformer."""

    network_class = ITransformer


@configurable
class DLinearForecaster(Forecaster):
    """A `Forecaster` that holds a DLinear."""

    network_class = DLinear


@configurable
class NLinearForecaster(Forecaster):
    """A `Forecaster` that holds an NLinear."""

    network_class = NLinear


def forecaster_class(network: ForecastNetwork) -> type[Forecaster]:
    """The forecaster that holds networks of this class."""
    for candidate in Forecaster.__subclasses__():
        if type(network) is candidate.network_class:
            return candidate
    return Forecaster
