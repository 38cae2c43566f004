"""What a user calls: a trained network with the names and the scale of its data."""

from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.datasets import SeriesTable, StandardScaler, calendar_features, future_stamps
from mixtura.forecasting.conformal import ConformalResiduals
from mixtura.forecasting.frames import (
    future_frame,
    is_polars,
    items_of,
    series_of,
    to_pandas,
    to_polars,
    with_rows,
)
from mixtura.forecasting.marks import Marks, check_marks
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
from mixtura.forecasting.predictable import Predictable
from mixtura.forecasting.quantile_levels import check_levels
from mixtura.training.sharing import Shared

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
class Forecaster(nn.Module, Predictable, Shared):
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
        covariates: Columns that the network looks at and that are known up to the present; over
            the horizon they keep their last reading.
        known_covariates: Columns that it looks at and that are known in the future as well.
        static_covariates: Columns that it looks at and that never change within a series.
        covariate_mean: Subtracted from each covariate, in this order.
        covariate_scale: Each covariate is divided by it.
        item_mean: Of a network trained on several series, what is subtracted from each column of
            each item, in place of `mean`.
        item_scale: What each column of each item is divided by, in place of `scale`.
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
        covariates: list[str] | None = None,
        known_covariates: list[str] | None = None,
        static_covariates: list[str] | None = None,
        covariate_mean: list[float] | None = None,
        covariate_scale: list[float] | None = None,
        item_mean: dict[str, list[float]] | None = None,
        item_scale: dict[str, list[float]] | None = None,
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
        self.covariates = list(covariates or [])
        self.known_covariates = list(known_covariates or [])
        self.static_covariates = list(static_covariates or [])
        self.covariate_mean, self.covariate_scale = covariate_mean, covariate_scale
        self.item_mean, self.item_scale = item_mean, item_scale
        if (item_mean or {}).keys() != (item_scale or {}).keys():
            raise InputError("item_mean and item_scale need the same items")
        check_marks(network, [*(["the calendar"] if calendar else []), *self.covariate_names])
        for given in (covariate_mean, covariate_scale):
            if given is not None and len(given) != len(self.covariate_names):
                raise InputError(
                    f"covariate_mean and covariate_scale need one number for each of the "
                    f"{len(self.covariate_names)} covariates, got {len(given)}"
                )

    @property
    def covariate_names(self) -> list[str]:
        """Past, known and static covariates, in the order in which the network sees them."""
        return [*self.covariates, *self.known_covariates, *self.static_covariates]

    def predict(
        self,
        frame: Any,
        horizon: int,
        *,
        quantiles: list[float] | None = None,
        future: Any = None,
        item_column: str | None = None,
        unseen: Literal["raise", "own"] = "raise",
        date_column: str | None = "date",
        missing: Literal["raise", "fill"] = "raise",
    ) -> Any:
        """The `horizon` rows that follow a frame.

        Args:
            frame: pandas or polars; rows in order of time, dates in `date_column` or in the index.
            horizon: rows to forecast.
            quantiles: levels between 0 and 1; each column `load` gets `load_q0.1` and so on.
            future: the known covariates of the rows to come, with their dates; such rows may also
                stand at the end of `frame`, with empty cells in the columns to forecast.
            item_column: where the frame holds several series below each other, the column that
                names them; each is forecast by itself.
            unseen: where the network was trained on several series, refuse one that was not among
                them, or scale it by its own rows.
            date_column: column of the timestamps.
            missing: refuse empty cells and steps without a row, or fill them with the reading
                before (a network that reads missing values gets them as they are).

        Returns:
            A pandas frame with the dates of the future as its index, or a polars frame with them as
            its first column; the point forecasts under the frame's own names, then the quantiles.

        Raises:
            InputError: for a frame that cannot be read, too few rows, another frequency than the
                training data's, a horizon that the network cannot reach, a level outside (0, 1),
                covariates that are not known over the horizon, a series whose scale is not known,
                or quantiles of a network that makes point forecasts only and was not calibrated.
        """
        levels = [] if quantiles is None else check_levels(quantiles)
        self.network.check_horizon(horizon)
        if item_column is None:
            whole = to_pandas(frame) if future is None else with_rows(frame, future, date_column)
            found = self._predict(whole, horizon, levels, date_column, missing, None, unseen)
        else:
            found = []
            for item, rows in items_of(frame, future, item_column, date_column):
                try:
                    one = self._predict(
                        rows, horizon, levels, date_column, missing, str(item), unseen
                    )
                except InputError as error:
                    raise InputError(f"{item_column} {item!r}: {error}") from error
                one.insert(0, item_column, item)
                found.append(one)
            found = pd.concat(found)
        return to_polars(found, date_column) if is_polars(frame) else found

    def _predict(
        self,
        frame: pd.DataFrame,
        horizon: int,
        levels: list[float],
        date_column: str | None,
        missing: Literal["raise", "fill"],
        item: str | None,
        unseen: Literal["raise", "own"],
    ) -> pd.DataFrame:
        table = self._read(frame, date_column, missing)
        if self.frequency and table.frequency and table.frequency != self.frequency:
            raise InputError(
                f"the model was trained on data with step {self.frequency!r}, the frame has "
                f"{table.frequency!r}; resample it"
            )
        mean, scale = self._scaling(table.values, item, unseen)
        scaled = (table.values[-self.network.context_length :] - mean) / scale
        past = self.on_device(scaled.T)[None]
        marks = self._marks(table, horizon)
        seen = None
        if marks is not None:
            seen = self.on_device(marks.window(table.rows, past.shape[-1], horizon))[None]
        parts = self.scaled_forecast(past, horizon, levels, seen)[:, 0]
        values = parts.transpose(1, 2).double().cpu().numpy() * scale + mean
        future = future_frame(table, values[0])
        for level, of_level in zip(levels, values[1:], strict=True):
            for number, name in enumerate(table.channels):
                future[f"{name}_q{level:g}"] = of_level[:, number]
        return future

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
            missing: refuse empty cells and steps without a row, or fill them with the reading
                before.

        Raises:
            InputError: for a frame that is too short, or a level that it cannot tell.
        """
        self.network.check_horizon(horizon)
        table = self._read(frame, date_column, missing)
        mean, scale = self._scaling(table.values, None, "raise")
        values = self.on_device(((table.values - mean) / scale).T)
        context = self.network.context_length
        count = values.shape[1] - context - horizon + 1
        if count < 1:
            raise InputError(
                f"calibration needs at least {context + horizon} rows (look-back and horizon), got "
                f"{values.shape[1]}; give a longer frame"
            )
        marks = self._marks(table, 0)
        starts = np.unique(np.linspace(0, count - 1, min(count, max_windows)).astype(int))
        residuals = []
        for chunk in np.array_split(starts, -(-len(starts) // 32)):
            windows = torch.stack([values[:, s : s + context + horizon] for s in chunk])
            seen = None
            if marks is not None:
                parts = [marks.window(int(s) + context, context, horizon) for s in chunk]
                seen = self.on_device(np.stack(parts))
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
            covariates=self.covariates,
            known_covariates=self.known_covariates,
            static_covariates=self.static_covariates,
            covariate_mean=self.covariate_mean,
            covariate_scale=self.covariate_scale,
            item_mean=self.item_mean,
            item_scale=self.item_scale,
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
            frame,
            self.channels,
            date_column=date_column,
            missing="keep" if keep else missing,
            covariates=[*self.covariates, *self.static_covariates],
            known_covariates=self.known_covariates,
        )

    def buffers_and_parameters(self) -> Any:
        """Everything with a device and a precision; a plain tensor for networks without any."""
        yield from self.parameters()
        yield from self.buffers()
        yield torch.empty(0)

    def scale_of_item(self, item: str | None) -> tuple[np.ndarray, np.ndarray] | None:
        """Mean and scale of the columns of an item; None for one that was not trained on."""
        if self.item_mean is None or self.item_scale is None or item not in self.item_mean:
            return None
        return np.array(self.item_mean[item]), np.array(self.item_scale[item])

    def _scaling(
        self,
        values: Float[np.ndarray, "rows variates"],
        item: str | None,
        unseen: Literal["raise", "own"],
    ) -> tuple[np.ndarray, np.ndarray]:
        variates = values.shape[1]
        mean = np.zeros(variates) if self.mean is None else np.array(self.mean)
        scale = np.ones(variates) if self.scale is None else np.array(self.scale)
        if self.item_mean:
            found = self.scale_of_item(item)
            if found is None and unseen == "raise":
                some = ", ".join(list(self.item_mean)[:5])
                which = "a series without a name" if item is None else f"the item {item!r}"
                raise InputError(
                    f"{which} was not trained on, so its scale is not known; the model knows the "
                    f"items {some}{', ...' * (len(self.item_mean) > 5)}: name them with "
                    "item_column, or set unseen to 'own' to scale a series by its own rows"
                )
            if found is None:
                own = StandardScaler.fit(values)
                found = own.mean, own.scale
            mean, scale = found
        if len(mean) != variates or len(scale) != variates:
            raise InputError(
                f"the model was trained on {len(mean)} columns, the frame has {variates}; give the "
                "same columns"
            )
        return mean, scale

    def scaled_covariates(
        self, values: Float[np.ndarray, "rows covariates"], first: int
    ) -> Float[np.ndarray, "rows covariates"]:
        """Covariates as the network sees them; `first` is the number of the first one."""
        place = slice(first, first + values.shape[1])
        mean = 0.0 if self.covariate_mean is None else np.array(self.covariate_mean)[place]
        scale = 1.0 if self.covariate_scale is None else np.array(self.covariate_scale)[place]
        return (values - mean) / scale

    def _marks(self, table: SeriesTable, ahead: int) -> Marks | None:
        """What the network looks at beside the series, with the calendar of `ahead` more rows."""
        if not self.calendar and not self.covariate_names:
            return None
        calendar = np.zeros((table.rows, 0))
        if self.calendar:
            if table.stamps is None or table.frequency is None:
                raise InputError(
                    "the model looks at the calendar, and the frame has no dates; add them"
                )
            after = future_stamps(table.stamps[-1], table.frequency, ahead)[:ahead]
            stamps = np.concatenate([table.stamps, after])
            calendar = calendar_features(stamps, table.frequency)
        count = len(self.covariates)
        static = table.past_covariates[:, count:]
        changing = (static != static[:1]).any(axis=0)
        if changing.any():
            name = self.static_covariates[int(changing.argmax())]
            raise InputError(
                f"the static covariate {name!r} changes within a series; give one value for each, "
                "or name the series with item_column"
            )
        known = len(self.known_covariates)
        return Marks(
            calendar,
            0,
            past=self.scaled_covariates(table.past_covariates[:, :count], 0),
            known=self.scaled_covariates(table.known_covariates, count),
            static=self.scaled_covariates(static[:1], count + known)[0],
            known_names=table.known_covariate_names,
        )


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
