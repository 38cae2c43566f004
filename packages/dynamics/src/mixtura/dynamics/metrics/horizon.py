"""How long and how well a forecast follows the truth."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["absolute_error_at", "mase", "valid_prediction_time"]


def mase(
    forecast: Float[Tensor, "times dims"],
    true: Float[Tensor, "times dims"],
    steps: int = 10,
    lag: int = 1,
) -> Float[Tensor, ""]:
    """Mean absolute scaled error of the first `steps` samples.

    The scale of a dimension is the mean absolute change over `lag` samples in the whole true
    series (1e-8 more, for a constant one); the result is the mean over dimensions.

    Hyndman and Koehler, Another look at measures of forecast accuracy, 2006.

    Args:
        forecast: of the model.
        true: of the system.
        steps: samples that are compared.
        lag: of the naive forecast; the period for a seasonal one.
    """
    error = (forecast[:steps] - true[:steps]).abs().mean(0)
    scale = (true[lag:] - true[:-lag]).abs().mean(0)
    return (error / (scale + 1e-8)).mean()


def absolute_error_at(
    forecast: Float[Tensor, "times dims"], true: Float[Tensor, "times dims"], step: int = 10
) -> Float[Tensor, ""]:
    """Sum over dimensions of the absolute difference at one sample."""
    return (forecast[step] - true[step]).abs().sum()


def valid_prediction_time(
    forecast: Float[Tensor, "times dims"],
    true: Float[Tensor, "times dims"],
    dt: float,
    lyapunov: float = 1.0,
    threshold: float = 0.4,
) -> float:
    """First time at which the normalised error exceeds `threshold`, in Lyapunov times.

    The error is `||forecast - true||` over the root mean square distance of the true series from
    its mean. The end of the series, if it never does.

    Vlachas et al., Backpropagation algorithms and reservoir computing in recurrent neural networks,
    2020.

    Args:
        forecast: of the model.
        true: of the system.
        dt: time between samples.
        lyapunov: largest Lyapunov exponent of the system; 1 gives plain time.
        threshold: 0.4 and 0.5 are both in use; say which.
    """
    size = (true - true.mean(0)).square().sum(1).mean().sqrt()
    error = (forecast - true).norm(dim=1) / size
    beyond = torch.nonzero(~(error <= threshold))
    first = int(beyond[0]) if len(beyond) else len(true) - 1
    return first * dt * lyapunov
