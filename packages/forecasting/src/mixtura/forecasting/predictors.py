"""gluonts predictors around forecasting networks."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from mixtura.core.errors import InputError
from mixtura.datasets import calendar_features, normal_frequency
from mixtura.forecasting.forecaster import Forecaster
from mixtura.forecasting.marks import Marks
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.quantile_levels import check_levels
from mixtura.forecasting.ragged import fitted_window
from mixtura.training.sharing import load_pretrained, save_pretrained

try:
    from gluonts.model.forecast import QuantileForecast, SampleForecast
    from gluonts.model.predictor import Predictor
except ModuleNotFoundError as error:
    advice = "predictors need gluonts: pip install 'mixtura-forecasting[gluonts]'"
    raise ModuleNotFoundError(advice, name=error.name) from error

__all__ = ["NetworkPredictor", "create_predictor"]

BACKTESTS = 3


class NetworkPredictor(Predictor):
    """Entries of a gluonts data set in, a `QuantileForecast` for each out.

    A target is one series (time,) or several (variates, time), with NaN where a value is missing
    and of any length. Quantiles come from the network where it is probabilistic, from the
    forecaster's calibration where it has one, else from the errors of the network's own forecasts
    of the last parts of the series' past.

    Args:
        forecaster: network, scale and calibration.
        prediction_length: points to forecast.
        context_length: longest look-back.
        batch_size: series per pass.
        device: where the network works.
        quantile_levels: quantiles to give beside the point forecast.
        num_samples: give so many draws of the network's distribution instead, as a
            `SampleForecast`.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        prediction_length: int,
        context_length: int,
        batch_size: int = 32,
        device: str = "cpu",
        quantile_levels: Sequence[float] | None = None,
        num_samples: int | None = None,
    ) -> None:
        super().__init__(prediction_length=prediction_length)
        self.forecaster = forecaster.to(device).eval()
        self.context_length, self.batch_size, self.device = context_length, batch_size, device
        self.levels = [] if quantile_levels is None else check_levels(quantile_levels)
        self.num_samples = num_samples

    def predict(
        self, dataset: Iterable[Any], **kwargs: Any
    ) -> Iterator[QuantileForecast | SampleForecast]:
        """Forecasts in the order of the entries.

        Covariates are `past_feat_dynamic_real`, `feat_dynamic_real` (to the end of the horizon)
        and `feat_static_real`, in the order of the forecaster's names; those of which the
        forecaster has none are not looked at.

        Raises:
            InputError: for an entry without any value, of another frequency or number of variates
                than the forecaster's, or with a covariate that is missing or ends too early.
        """
        entries = iter(dataset)
        while batch := list(islice(entries, self.batch_size)):
            for entry, parts in zip(batch, self._forecast(batch), strict=True):
                target = np.asarray(entry["target"])
                start = entry["start"] + target.shape[-1]
                arrays = parts[:, 0] if target.ndim == 1 else parts.transpose(0, 2, 1)
                name = entry.get("item_id")
                if self.num_samples:
                    yield SampleForecast(samples=arrays[1:], start_date=start, item_id=name)
                    continue
                keys = ["mean", *(f"{level:g}" for level in self.levels)]
                if 0.5 not in self.levels:
                    keys.append("0.5")
                    arrays = np.concatenate([arrays, arrays[:1]])
                yield QuantileForecast(
                    forecast_arrays=arrays, start_date=start, forecast_keys=keys, item_id=name
                )

    def serialize(self, path: Path) -> None:
        """Write the settings, and the forecaster as a shared model; no pickle."""
        super().serialize(path)
        settings = {
            "prediction_length": self.prediction_length,
            "context_length": self.context_length,
            "batch_size": self.batch_size,
            "quantile_levels": self.levels or None,
            "num_samples": self.num_samples,
        }
        (path / "predictor.json").write_text(json.dumps(settings))
        save_pretrained(self.forecaster, path / "forecaster")

    @classmethod
    def deserialize(
        cls, path: Path, device: str | None = None, **kwargs: Any
    ) -> "NetworkPredictor":
        """Read what `serialize` wrote."""
        settings = json.loads((Path(path) / "predictor.json").read_text())
        forecaster = load_pretrained(Path(path) / "forecaster", Forecaster)
        return cls(forecaster, **settings, device=device or "cpu")

    def _forecast(self, entries: Sequence[Any]) -> list[Float[np.ndarray, "parts variates h"]]:
        series = [self._series(entry) for entry in entries]
        network, horizon = self.forecaster.network, self.prediction_length
        own = self.levels and self.forecaster.conformal is None and not network.probabilistic
        asked: list[tuple[int, int]] = []
        for number, values in enumerate(series):
            asked.append((number, values.shape[1]))
            if own:
                ends = [values.shape[1] - back * horizon for back in range(1, BACKTESTS + 1)]
                asked += [(number, e) for e in ends if e > 0 and _enough(values[:, :e], network)]
        found = self._windows(entries, series, asked, [] if own else self.levels)
        forecasts: list[Any] = [None] * len(entries)
        errors: list[list[np.ndarray]] = [[] for _ in entries]
        for (number, end), parts in zip(asked, found, strict=True):
            if end == series[number].shape[1]:
                forecasts[number] = parts
            else:
                errors[number].append(series[number][:, end : end + horizon] - parts[0])
        if not own:
            return forecasts
        pairs = zip(forecasts, errors, strict=True)
        return [_with_errors(parts, past, self.levels) for parts, past in pairs]

    def _windows(
        self,
        entries: Sequence[Any],
        series: Sequence[np.ndarray],
        asked: Sequence[tuple[int, int]],
        levels: list[float],
    ) -> list[np.ndarray]:
        """The forecast after each (entry, end): windows of one shape go together."""
        network, horizon = self.forecaster.network, self.prediction_length
        groups: dict[tuple[int, ...], list[int]] = {}
        windows, scales, marks = [], [], []
        beside = [self._marks(entry, values) for entry, values in zip(entries, series, strict=True)]
        for place, (number, end) in enumerate(asked):
            raw = series[number][:, max(0, end - self.context_length) : end]
            mean, scale = self._scale_of(raw, entries[number])
            window = fitted_window((raw - mean) / scale, network)
            windows.append(window)
            scales.append((mean, scale))
            around = beside[number]
            if around is not None:
                marks.append(around.window(end, window.shape[1], horizon))
            groups.setdefault(window.shape, []).append(place)
        results: list[Any] = [None] * len(asked)
        for places in groups.values():
            for first in range(0, len(places), self.batch_size):
                part = places[first : first + self.batch_size]
                past = self.forecaster.on_device(np.stack([windows[place] for place in part]))
                seen = None
                if marks:
                    seen = self.forecaster.on_device(np.stack([marks[place] for place in part]))
                if self.num_samples:
                    samples = network.forecast_samples(past, horizon, self.num_samples, seen)
                    parts = torch.cat((samples[:1], samples))
                else:
                    parts = self.forecaster.scaled_forecast(past, horizon, levels, seen)
                values = parts.transpose(0, 1).double().cpu().numpy()
                for place, value in zip(part, values, strict=True):
                    mean, scale = scales[place]
                    results[place] = value * scale + mean
        return results

    def _series(self, entry: Any) -> Float[np.ndarray, "variates time"]:
        values = np.atleast_2d(np.asarray(entry["target"], dtype=np.float64))
        name = entry.get("item_id", "an entry")
        if not np.isfinite(values).any(axis=1).all():
            raise InputError(f"{name}: a series holds no number at all; leave the entry out")
        frequency = getattr(entry["start"], "freqstr", None)
        expected = self.forecaster.frequency
        if expected and frequency and normal_frequency(frequency) != expected:
            raise InputError(
                f"{name}: the model was trained on data with step {expected!r}, the entry has "
                f"{frequency!r}; resample it"
            )
        return np.where(np.isfinite(values), values, np.nan)

    def _marks(self, entry: Any, values: Float[np.ndarray, "variates time"]) -> Marks | None:
        """The calendar and the covariates of an entry, as the network looks at them."""
        forecaster, rows = self.forecaster, values.shape[1]
        counts = [
            len(each)
            for each in (
                forecaster.covariates, forecaster.known_covariates, forecaster.static_covariates
            )
        ]  # fmt: skip
        if not forecaster.calendar and not any(counts):
            return None
        name = entry.get("item_id", "an entry")
        first, calendar = -forecaster.network.context_length - 32, np.zeros((0, 0))
        if forecaster.calendar:
            start = entry["start"]
            length = rows + self.prediction_length - first
            stamps = pd.period_range(start + first, periods=length, freq=start.freq).to_timestamp()
            calendar = calendar_features(stamps.to_numpy(), normal_frequency(start.freqstr))
        known = _feature(entry, "feat_dynamic_real", counts[1], rows + self.prediction_length, name)
        past = _feature(entry, "past_feat_dynamic_real", counts[0], rows, name)
        static = _feature(entry, "feat_static_real", counts[2], None, name)
        return Marks(
            calendar,
            first,
            past=forecaster.scaled_covariates(past, 0),
            known=forecaster.scaled_covariates(known, counts[0]),
            static=forecaster.scaled_covariates(static, counts[0] + counts[1])[0],
            known_names=tuple(forecaster.known_covariates),
        )

    def _scale_of(
        self, raw: Float[np.ndarray, "variates time"], entry: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """The forecaster's scale, of the entry's item where it knows it, else the window's own."""
        known_scale = self.forecaster.scale_of_item(str(entry.get("item_id")))
        if self.forecaster.mean is not None and self.forecaster.scale is not None:
            known_scale = np.array(self.forecaster.mean), np.array(self.forecaster.scale)
        if known_scale is not None:
            mean, scale = known_scale
            if len(mean) != len(raw):
                raise InputError(
                    f"the model was trained on {len(mean)} columns, the entry has {len(raw)} "
                    "variates; give the same ones"
                )
            return mean[:, None], scale[:, None]
        known = np.isfinite(raw)
        count = known.sum(1, keepdims=True).clip(1)
        mean = np.where(known, raw, 0).sum(1, keepdims=True) / count
        spread = np.sqrt((np.where(known, raw - mean, 0.0) ** 2).sum(1, keepdims=True) / count)
        return mean, np.where(spread > 1e-8, spread, 1.0)


def create_predictor(
    model: ForecastNetwork | Forecaster,
    prediction_length: int,
    context_length: int | None = None,
    batch_size: int = 32,
    device: str = "cpu",
    quantile_levels: Sequence[float] | None = None,
    num_samples: int | None = None,
) -> NetworkPredictor:
    """A gluonts predictor around a network or a forecaster.

    Raises:
        InputError: for a horizon the network cannot reach, a look-back it cannot work with, a
            level outside (0, 1), or a device that is not there.
    """
    forecaster = model if isinstance(model, Forecaster) else Forecaster(model)
    network = forecaster.network
    network.check_horizon(prediction_length)
    context = network.context_length if context_length is None else context_length
    if not network.shortest_context <= context <= network.context_length:
        raise InputError(
            f"{type(network).__name__} looks back {network.shortest_context} to "
            f"{network.context_length} points, got context_length {context}; choose one between"
        )
    if num_samples is not None and (num_samples < 1 or quantile_levels is not None):
        raise InputError(
            f"num_samples must be at least 1 and excludes quantile_levels, got {num_samples} and "
            f"{quantile_levels}"
        )
    if num_samples is not None and not network.samples:
        raise InputError(
            f"{type(network).__name__} draws no samples; ask for quantile_levels, or put the "
            "network into a DistributionNetwork and train that"
        )
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no device {device!r} here; use 'cpu'") from error
    return NetworkPredictor(
        forecaster, prediction_length, context, batch_size, device, quantile_levels, num_samples
    )


def _enough(past: Float[np.ndarray, "variates time"], network: ForecastNetwork) -> bool:
    """Whether a backtest tells something: a whole look-back with values in every variate."""
    enough = past.shape[1] >= network.shortest_context
    return enough and bool(np.isfinite(past).any(axis=1).all())


def _with_errors(
    parts: Float[np.ndarray, "1 variates h"],
    past: Sequence[Float[np.ndarray, "variates _"]],
    levels: Sequence[float],
) -> Float[np.ndarray, "parts variates h"]:
    """Each level shifted by that quantile of the errors of the series' past, if there are any."""
    errors = np.concatenate(past, 1) if past else np.zeros((parts.shape[1], 0))
    quantiles = []
    for level in levels:
        shifts = [
            np.quantile(row[np.isfinite(row)], level) if np.isfinite(row).any() else 0.0
            for row in errors
        ]
        quantiles.append(parts[0] + np.array(shifts)[:, None])
    return np.stack([parts[0], *quantiles])


def _feature(
    entry: Any, field: str, count: int, length: int | None, name: Any
) -> Float[np.ndarray, "rows {count}"]:
    """A covariate field of an entry, one row per step (one row for a static one).

    Raises:
        InputError: when it is missing, has another number of features, is too short, or holds a
            cell that is no number.
    """
    if not count:
        return np.zeros((1 if length is None else length, 0))
    given = entry.get(field)
    if given is None:
        raise InputError(f"{name}: the model looks at {count} features of {field}, got none")
    values = np.asarray(given, dtype=np.float64)
    values = values.reshape(1, -1) if length is None else np.atleast_2d(values).T
    if values.shape[1] != count:
        raise InputError(
            f"{name}: the model looks at {count} features of {field}, got {values.shape[1]}"
        )
    if length is not None and len(values) < length:
        raise InputError(
            f"{name}: {field} must have {length} points, got {len(values)}; add the missing ones"
        )
    if not np.isfinite(values[:length]).all():
        raise InputError(f"{name}: {field} holds a cell that is no number; fill it")
    return values[:length]
