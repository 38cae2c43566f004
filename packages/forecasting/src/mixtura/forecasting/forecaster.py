"""What a user calls: a trained network with the names and the scale of its data."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.datasets import SeriesTable, calendar_features, future_stamps
from mixtura.forecasting.conformal import ConformalResiduals
from mixtura.forecasting.frames import future_frame, is_polars, series_of, to_polars
from mixtura.forecasting.networks import (
    DLinear,
    ForecastNetwork,
    ITransformer,
    MoHETS,
    MoiraiMoE,
    NLinear,
    PatchTST,
    SegMoE,
    TimeMoE,
)
from mixtura.forecasting.quantile_levels import check_levels
from mixtura.training.sharing import Shared

if TYPE_CHECKING:
    from mixtura.forecasting.predictors import NetworkPredictor

__all__ = [
    "DLinearForecaster",
    "Forecaster",
    "ITransformerForecaster",
    "MoHETSForecaster",
    "MoiraiMoEForecaster",
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
        conformal: Quantiles around the point forecasts; `calibrated` makes them.
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
        conformal: ConformalResiduals | None = None,
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
        self.conformal = conformal

    def predict(
        self,
        frame: Any,
        horizon: int,
        *,
        quantiles: list[float] | None = None,
        date_column: str | None = "date",
        missing: Literal["raise", "fill"] = "raise",
    ) -> Any:
        """The `horizon` rows that follow a frame.

        Args:
            frame: pandas or polars; rows in order of time, dates in `date_column` or in the index.
            horizon: rows to forecast.
            quantiles: levels between 0 and 1; each column `load` gets `load_q0.1` and so on.
            date_column: column of the timestamps.
            missing: refuse empty cells, or fill them with the reading before (a network that reads
                missing values gets them as they are).

        Returns:
            A pandas frame with the dates of the future as its index, or a polars frame with them as
            its first column; the point forecasts under the frame's own names, then the quantiles.

        Raises:
            InputError: for a frame that cannot be read, too few rows, another frequency than the
                training data's, a horizon that the network cannot reach, a level outside (0, 1), or
                quantiles of a network that makes point forecasts only and was not calibrated.
        """
        levels = [] if quantiles is None else check_levels(quantiles)
        self.network.check_horizon(horizon)
        table = self._read(frame, date_column, missing)
        if self.frequency and table.frequency and table.frequency != self.frequency:
            raise InputError(
                f"the model was trained on data with step {self.frequency!r}, the frame has "
                f"{table.frequency!r}; resample it"
            )
        mean, scale = self._scaling(table.values.shape[1])
        scaled = (table.values[-self.network.context_length :] - mean) / scale
        past = self.on_device(scaled.T)[None]
        marks = self._marks(table, past.shape[-1], horizon) if self.calendar else None
        parts = self.scaled_forecast(past, horizon, levels, marks)[:, 0]
        values = parts.transpose(1, 2).double().cpu().numpy() * scale + mean
        future = future_frame(table, values[0])
        for level, of_level in zip(levels, values[1:], strict=True):
            for number, name in enumerate(table.channels):
                future[f"{name}_q{level:g}"] = of_level[:, number]
        return to_polars(future, date_column) if is_polars(frame) else future

    def scaled_forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        levels: list[float],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "parts batch variates horizon"]:
        """The point forecast, then one quantile per level, in the scale that the network sees.

        Raises:
            InputError: where quantiles are wanted of an uncalibrated point forecast.
        """
        point = self.network.forecast(past, horizon, marks)
        if not levels:
            return point[None]
        if self.conformal is not None:
            quantiles = self.conformal(point, levels)
        else:
            quantiles = self.network.forecast_quantiles(past, horizon, levels, marks)
        return torch.cat((point[None], quantiles))

    def calibrated(
        self,
        frame: Any,
        horizon: int,
        *,
        levels: list[float] | None = None,
        max_windows: int = 1000,
        date_column: str | None = "date",
        missing: Literal["raise", "fill"] = "raise",
    ) -> "Forecaster":
        """A forecaster with quantiles, by split conformal prediction.

        Args:
            frame: data that the network was not trained on, such as the validation rows.
            horizon: longest horizon that is to have quantiles.
            levels: quantiles to keep; the usual ones that the frame can tell if not given.
            max_windows: windows that are looked at, spread over the frame.
            date_column: column of the timestamps.
            missing: refuse empty cells, or fill them with the reading before.

        Raises:
            InputError: for a frame that is too short, or a level that it cannot tell.
        """
        self.network.check_horizon(horizon)
        table = self._read(frame, date_column, missing)
        mean, scale = self._scaling(table.values.shape[1])
        values = self.on_device(((table.values - mean) / scale).T)
        context = self.network.context_length
        count = values.shape[1] - context - horizon + 1
        if count < 1:
            raise InputError(
                f"calibration needs at least {context + horizon} rows (look-back and horizon), got "
                f"{values.shape[1]}; give a longer frame"
            )
        marks = self._marks(table, values.shape[1], 0) if self.calendar else None
        starts = np.unique(np.linspace(0, count - 1, min(count, max_windows)).astype(int))
        residuals = []
        for chunk in np.array_split(starts, -(-len(starts) // 32)):
            windows = torch.stack([values[:, s : s + context + horizon] for s in chunk])
            seen = None
            if marks is not None:
                seen = torch.stack([marks[0, :, s : s + context + horizon] for s in chunk])
            point = self.network.forecast(windows[..., :context], horizon, seen)
            residuals.append(windows[..., context:] - point)
        errors = torch.cat(residuals)
        if self.channels is None:
            errors = errors.flatten(0, 1).unsqueeze(1)
        return type(self)(
            self.network,
            channels=self.channels,
            mean=self.mean,
            scale=self.scale,
            frequency=self.frequency,
            calendar=self.calendar,
            conformal=ConformalResiduals.of(errors, levels),
        )

    def create_predictor(
        self,
        prediction_length: int,
        context_length: int | None = None,
        batch_size: int = 32,
        device: str = "cpu",
        quantile_levels: list[float] | None = None,
    ) -> "NetworkPredictor":
        """A gluonts predictor; entries need the columns of training as their dimensions.

        Args:
            prediction_length: points to forecast.
            context_length: longest look-back, the network's own if not given.
            batch_size: series per pass.
            device: where the network works.
            quantile_levels: quantiles to give beside the point forecast.

        Raises:
            InputError: when gluonts is not installed, or for a length, level or device that
                cannot be.
        """
        from mixtura.forecasting.predictors import create_predictor

        return create_predictor(
            self, prediction_length, context_length, batch_size, device, quantile_levels
        )

    def on_device(self, values: Any) -> Tensor:
        """An array as a tensor where the network is, in its precision."""
        return torch.from_numpy(np.ascontiguousarray(values)).to(
            next(self.buffers_and_parameters())
        )

    def _read(
        self, frame: Any, date_column: str | None, missing: Literal["raise", "fill"]
    ) -> SeriesTable:
        keep = missing == "fill" and self.network.reads_missing == "any"
        return series_of(
            frame, self.channels, date_column=date_column, missing="keep" if keep else missing
        )

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
        after = future_stamps(table.stamps[-1], table.frequency, horizon)[:horizon]
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
class MoiraiMoEForecaster(Forecaster):
    """A `Forecaster` that holds a Moirai-MoE."""

    network_class = MoiraiMoE


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
