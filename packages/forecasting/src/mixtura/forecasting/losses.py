"""Losses of point forecasts."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.core.errors import InputError

__all__ = ["AbsoluteError", "ForecastLoss", "Huber", "SquaredError"]


class ForecastLoss:
    """A scalar from predictions and targets of one shape."""

    def __call__(
        self, prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]
    ) -> Float[Tensor, ""]:
        """The mean loss."""
        raise NotImplementedError


@configurable
class Huber(ForecastLoss):
    """Squared for small errors, absolute for large ones (Time-MoE, Seg-MoE and MoHETS).

    Args:
        delta: the error at which one becomes the other.
    """

    def __init__(self, delta: float = 2.0) -> None:
        if delta <= 0:
            raise InputError(f"delta must be positive, got {delta}")
        self.delta = delta

    def __call__(
        self, prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]
    ) -> Float[Tensor, ""]:
        """The mean loss."""
        return F.huber_loss(prediction, target, delta=self.delta)


@configurable
class SquaredError(ForecastLoss):
    """The mean squared error."""

    def __call__(
        self, prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]
    ) -> Float[Tensor, ""]:
        """The mean loss."""
        return F.mse_loss(prediction, target)


@configurable
class AbsoluteError(ForecastLoss):
    """The mean absolute error."""

    def __call__(
        self, prediction: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"]
    ) -> Float[Tensor, ""]:
        """The mean loss."""
        return F.l1_loss(prediction, target)
