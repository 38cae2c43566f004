"""The errors of the protocol as a torchmetrics metric, for Lightning modules."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

__all__ = ["WindowErrors"]


class WindowErrors(Metric):
    """Mean squared and mean absolute error in which every window counts once.

    Errors are added up in float64 per variate, over batches and processes, so neither the batch
    size nor the number of processes changes the result. `compute` gives `mse`, `mae` (scalars) and
    `mse_per_variate`, `mae_per_variate`.

    Args:
        variates: number of channels.
    """

    full_state_update = False
    squared: Tensor
    absolute: Tensor
    steps: Tensor

    def __init__(self, variates: int) -> None:
        super().__init__()
        zeros = torch.zeros(variates, dtype=torch.float64)
        self.add_state("squared", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("absolute", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("steps", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        forecast: Float[Tensor, "windows horizon variates"],
        truth: Float[Tensor, "windows horizon variates"],
    ) -> None:
        """Add a batch of windows."""
        error = forecast.detach().double() - truth.double()
        self.squared += error.square().sum(dim=(0, 1))
        self.absolute += error.abs().sum(dim=(0, 1))
        self.steps += error.shape[0] * error.shape[1]

    def compute(self) -> dict[str, Tensor]:
        """The errors of all windows so far; NaN when there was none."""
        mse, mae = self.squared / self.steps, self.absolute / self.steps
        return {
            "mse": mse.mean(),
            "mae": mae.mean(),
            "mse_per_variate": mse,
            "mae_per_variate": mae,
        }
