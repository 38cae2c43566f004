"""Metrics of reconstructed dynamics."""

from mixtura.dynamics.metrics.errors import mape, mse, rel_l2, rel_sq_pointwise
from mixtura.dynamics.metrics.families import family_recovery, parameter_r2, purity
from mixtura.dynamics.metrics.horizon import absolute_error_at, mase, valid_prediction_time
from mixtura.dynamics.metrics.lyapunov import (
    lyapunov_of_data,
    lyapunov_of_field,
    lyapunov_of_map,
)
from mixtura.dynamics.metrics.spectrum import power_spectrum_distance
from mixtura.dynamics.metrics.state_space import (
    state_space_divergence,
    state_space_divergence_gmm,
)

__all__ = [
    "absolute_error_at",
    "family_recovery",
    "lyapunov_of_data",
    "lyapunov_of_field",
    "lyapunov_of_map",
    "mape",
    "mase",
    "mse",
    "parameter_r2",
    "power_spectrum_distance",
    "purity",
    "rel_l2",
    "rel_sq_pointwise",
    "state_space_divergence",
    "state_space_divergence_gmm",
    "valid_prediction_time",
]
