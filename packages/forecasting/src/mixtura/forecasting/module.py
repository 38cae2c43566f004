"""Training and evaluation of any forecasting network on windows of a series."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.datasets import WindowBatch
from mixtura.forecasting.losses import ForecastLoss, Huber
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.training import MoEModule
from mixtura.training.optimisation import Optimizer, Schedule

__all__ = ["ForecastModule"]


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
        calendar: Hand calendar features to the network.
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
        prediction, target = self.network.supervise(past, future, marks)
        return self.loss(prediction, target), {}

    def evaluate(self, batch: WindowBatch) -> dict[str, Tensor]:
        """Errors of the forecast of the whole horizon."""
        _, future, _ = self.windows(batch)
        error = self.forecast(batch) - future
        mse = error.square().mean()
        return {"loss": mse, "mse": mse, "mae": error.abs().mean()}

    def predict_step(self, batch: WindowBatch, batch_idx: int) -> Tensor:
        """The forecast, scaled like the data: (windows, horizon, variates)."""
        return self.forecast(batch).transpose(1, 2)

    def forecast(self, batch: WindowBatch) -> Float[Tensor, "batch variates horizon"]:
        """The network's forecast of the batch's horizon."""
        past, future, marks = self.windows(batch)
        return self.network.forecast(past, future.shape[-1], marks)

    def windows(
        self, batch: WindowBatch
    ) -> tuple[
        Float[Tensor, "batch variates look_back"],
        Float[Tensor, "batch variates horizon"],
        Float[Tensor, "batch features all"] | None,
    ]:
        """Past, future and calendar features of a batch, variates before time."""
        past, future = batch.past.transpose(1, 2), batch.future.transpose(1, 2)
        if not self.calendar:
            return past, future, None
        marks = torch.cat((batch.past_marks, batch.future_marks), 1).transpose(1, 2)
        return past, future, marks
