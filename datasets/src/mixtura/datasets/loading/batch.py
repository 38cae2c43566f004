"""What a forecasting model gets."""

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["WindowBatch"]


class WindowBatch(NamedTuple):
    """Windows of series, scaled, time before channels; absent covariates have no channels."""

    past: Float[Tensor, "batch look_back variates"]
    future: Float[Tensor, "batch horizon variates"]
    """NaN when the future is not known."""
    past_marks: Float[Tensor, "batch look_back marks"]
    """Calendar features in [-0.5, 0.5]."""
    future_marks: Float[Tensor, "batch horizon marks"]
    past_covariates: Float[Tensor, "batch look_back past_covariates"]
    """Covariates known up to the present, those known in the future, then static ones."""
    future_covariates: Float[Tensor, "batch horizon known_covariates"]
    """Those known in the future, then static ones."""
    index: Int[Tensor, " batch"]
    """Row of its series at which each window begins."""
