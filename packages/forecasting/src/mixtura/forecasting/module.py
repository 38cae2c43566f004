"""Training and evaluation of any forecasting network on windows of a series."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from mixtura.core import Routing, configurable
from mixtura.core.errors import InputError
from mixtura.datasets import LTSFDataModule, WindowBatch, dataset
from mixtura.forecasting.conformal import ConformalResiduals
from mixtura.forecasting.forecaster import Forecaster, forecaster_class
from mixtura.forecasting.inspection.windows import mixture_of
from mixtura.forecasting.losses import ForecastLoss, Huber
from mixtura.forecasting.marks import check_marks
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.moirai_moe import MoiraiMoE
from mixtura.forecasting.writer import ForecastWriter
from mixtura.training import MoEModule
from mixtura.training.optimisation import Optimizer, Schedule
from mixtura.training.sharing import Card

__all__ = ["ForecastModule"]

TASK = "time-series-forecasting"
CALIBRATION_WINDOWS, FEWEST_WINDOWS = 100, 19
"""Validation windows that quantiles are taken from; fewer than 19 tell no usual quantile."""


@configurable
class ForecastModule(MoEModule):
    """Trains on what the network calls its training pair, evaluates on the whole horizon.

    Validation and test report the mean squared and absolute error of the horizon on scaled values,
    every window counted once: the numbers of the long-term forecasting tables. `loss` is the mean
    squared error again, for early stopping and checkpoints.

    Args:
        network: The network.
        optimizer: How it is optimised.
        schedule: Learning-rate factor over the steps.
        loss: Training loss; Huber with delta 2 if not given.
        calendar: Hand calendar features to the network. Covariates of the data are always handed
            to it, behind the calendar.
        nonfinite: What to do with a batch whose loss is not finite.
    """

    def __init__(
        self,
        network: ForecastNetwork,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        loss: ForecastLoss | None = None,
        calendar: bool = False,
        nonfinite: Literal["raise", "skip"] = "raise",
    ) -> None:
        super().__init__(network, optimizer, schedule, nonfinite)
        self.loss = Huber() if loss is None else loss
        check_marks(network, ["the calendar"] if calendar else [])
        self.calendar = calendar

    def task_loss(self, batch: WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the network's training pair."""
        past, future, marks = self.windows(batch)
        if future.shape[-1] < self.network.target_length:
            raise InputError(
                f"{type(self.network).__name__} needs {self.network.target_length} points after "
                f"each training window, the data gives a horizon of {future.shape[-1]}; set "
                f"data.horizon to at least {self.network.target_length}"
            )
        return self.network.training_loss(past, future, marks, self.loss), {}

    def evaluate(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Errors of the forecast of the whole horizon."""
        _, future, _ = self.windows(batch)
        error = self.forecast(batch) - future
        mse = error.square().mean()
        return {"loss": mse, "mse": mse, "mae": error.abs().mean()}

    def predict_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """The forecast, scaled like the data: (windows, horizon, variates)."""
        return self.forecast(batch).transpose(1, 2)

    def configure_callbacks(self) -> list[Callback]:
        """`predict` writes a table and a picture."""
        return [ForecastWriter()]

    def forecast(self, batch: WindowBatch) -> Float[Tensor, "batch variates horizon"]:
        """The network's forecast of the batch's horizon."""
        past, future, marks = self.windows(batch)
        return self.network.forecast(past, future.shape[-1], marks)

    def shared(self, data: LTSFDataModule | None) -> Forecaster:
        """The forecaster around the trained network, with the names and the scale of its data.

        Point forecasts get quantiles from their errors on windows of the validation part.
        """
        if not isinstance(data, LTSFDataModule):
            return forecaster_class(self.network)(self.network, calendar=self.calendar)
        return forecaster_class(self.network)(
            self.network,
            channels=list(data.table.channels),
            **scaling(data),
            frequency=data.table.frequency,
            calendar=self.calendar,
            conformal=self.calibration(data),
            covariates=list(data.table.past_covariate_names),
            known_covariates=list(data.table.known_covariate_names),
            static_covariates=list(data.table.static_covariate_names),
            covariate_mean=data.covariate_scaler.mean.tolist(),
            covariate_scale=data.covariate_scaler.scale.tolist(),
        )

    def calibration(self, data: LTSFDataModule) -> ConformalResiduals | None:
        """Quantiles of the errors on validation windows; none where the network has its own."""
        if self.network.probabilistic:
            return None
        try:
            source = data.source("val")
        except InputError:
            return None  # no validation rows
        count = min(len(source), CALIBRATION_WINDOWS)
        numbers = np.linspace(0, len(source) - 1, count).round()
        residuals = []
        for part in torch.from_numpy(numbers).long().split(16):
            past, future, marks = self.windows(source[part])
            residuals.append(future - self.network.forecast(past, future.shape[-1], marks))
        errors = torch.cat(residuals)
        usable = len(errors) >= FEWEST_WINDOWS and bool(errors.isfinite().all())
        return ConformalResiduals.of(errors) if usable else None

    def card(self, data: LTSFDataModule | None) -> Card:
        """What is known of the data, and how the forecaster is used."""
        if not isinstance(data, LTSFDataModule):
            return Card(task=TASK)
        known = dataset(data.name) if data.name and data.path is None else None
        name, one = forecaster_class(self.network).__name__, data.item_column is None
        items = "" if one else f', item_column="{data.item_column}"'
        return Card(
            task=TASK,
            data=data.table.name,
            licence=None if known is None else known.licence,
            citation=() if known is None else (known.citation,),
            description=(
                f"Forecasts {', '.join(data.table.channels)} (step {data.table.frequency}) from "
                f"the last {self.network.context_length} rows. Scores are on scaled values, over "
                f"all test windows of look-back {data.look_back} and horizon {data.horizon}. "
                f"Trained on {'this one' if one else len(data.tables)} series; "
                f"{self._quantiles()}."
            ),
            load=(
                f"from mixtura.forecasting import {name}\n\n"
                f'forecaster = {name}.from_pretrained("THIS_FOLDER")\n'
                f"future = forecaster.predict(frame, horizon={data.horizon}{items})"
            ),
        )

    def captions(self, batch: WindowBatch) -> list[str]:
        """The row at which each window begins."""
        if not isinstance(batch, WindowBatch):
            return list(super().captions(batch))
        return [f"window from row {int(row)}" for row in batch.index]

    def aspects(self, batch: WindowBatch, layer: str, routing: Routing) -> dict[str, list[str]]:
        """The variate of each unit, where a layer works on every variate by itself."""
        if not isinstance(batch, WindowBatch):
            return {}
        windows, variates = len(batch.index), batch.past.shape[2]
        per_series, rest = divmod(routing.num_units, windows * variates)
        if variates == 1 or rest or isinstance(mixture_of(self.network), MoiraiMoE):
            return {}
        names = [f"variate {v}" for v in range(variates) for _ in range(per_series)]
        return {"variate": names * windows}

    def pictures(self, data: object, folder: Path) -> dict[str, Path]:
        """Experts by the clock and by frequency, segment maps, and errors by expert."""
        from mixtura.forecasting.inspection.page import expert_pictures, spaced_windows

        if not isinstance(data, LTSFDataModule):
            return {}
        batch = data.source_of(next(iter(data.tables)), "test")[spaced_windows(data)]
        return expert_pictures(folder, self.network, data, *self.windows(batch), batch.index)

    def _quantiles(self) -> str:
        if self.network.probabilistic:
            return f"quantiles come from the {type(self.network).__name__} itself"
        return "quantiles are the point forecasts shifted by errors on validation windows"

    def windows(
        self, batch: WindowBatch
    ) -> tuple[
        Float[Tensor, "batch variates look_back"],
        Float[Tensor, "batch variates horizon"],
        Float[Tensor, "batch features all"] | None,
    ]:
        """Past, future and, for a network that looks at them, marks: variates before time.

        Marks are the calendar features, then the covariates; what is known up to the present only
        keeps its last reading over the horizon.
        """
        past, future = batch.past.transpose(1, 2), batch.future.transpose(1, 2)
        parts = []
        if self.calendar:
            parts.append(torch.cat((batch.past_marks, batch.future_marks), 1))
        covariates, known = batch.past_covariates, batch.future_covariates
        if covariates.shape[2]:
            check_marks(self.network, ["the covariates of the data"])
            unknown = covariates.shape[2] - known.shape[2]
            kept = covariates[:, -1:, :unknown].expand(-1, future.shape[2], -1)
            parts.append(torch.cat((covariates, torch.cat((kept, known), 2)), 1))
        return past, future, torch.cat(parts, 2).transpose(1, 2) if parts else None


def scaling(data: LTSFDataModule) -> dict[str, Any]:
    """How the columns were scaled, as the forecaster's arguments: all alike, or item by item."""
    if data.item_column is None:
        return {"mean": data.scaler.mean.tolist(), "scale": data.scaler.scale.tolist()}
    return {
        "item_mean": {item: one.mean.tolist() for item, one in data.scalers.items()},
        "item_scale": {item: one.scale.tolist() for item, one in data.scalers.items()},
    }
