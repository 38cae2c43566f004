"""Metrics of reconstructed dynamics.

Public names are loaded when they are first used: training needs the errors alone.
"""

import importlib
from typing import Any

from mixtura.core.extras import brought_by

_ROOMS = {
    "errors": ("mape", "mse", "rel_l2", "rel_sq_pointwise"),
    "families": ("family_recovery", "parameter_r2", "purity"),
    "horizon": ("absolute_error_at", "mase", "valid_prediction_time"),
    "lyapunov": ("lyapunov_of_data", "lyapunov_of_field", "lyapunov_of_map"),
    "spectrum": ("power_spectrum_distance",),
    "state_space": ("state_space_divergence", "state_space_divergence_gmm"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_ROOM_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import the room of a public name at its first use."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with brought_by("mixtura-dynamics[train]", name):
        value = getattr(importlib.import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
