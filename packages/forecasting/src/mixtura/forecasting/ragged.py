"""Look-backs of any length and with missing values, made into what a network can read."""

import numpy as np
from jaxtyping import Float

from mixtura.datasets import fill_from_past
from mixtura.forecasting.networks.base import ForecastNetwork

__all__ = ["fitted_window"]


def fitted_window(
    window: Float[np.ndarray, "variates time"], network: ForecastNetwork
) -> Float[np.ndarray, "variates length"]:
    """Filled, padded or cut as the network needs it.

    A missing value repeats the one before it, unless the network reads missing values. A window
    that is too short is padded on the left: by NaN where the network masks what is before the
    beginning of a series, else by the first value. Networks on patches take whole patches.

    Args:
        window: the newest points, NaN where a value is missing.
        network: what is to read it.
    """
    length = window.shape[1]
    if network.reads_missing != "none":
        if network.reads_missing == "before":
            filled = fill_from_past(window.T, np.isnan(window.T)).T
            begun = np.maximum.accumulate(~np.isnan(window), axis=1)
            window = np.where(begun, filled, np.nan)
        missing = network.context_length - length
        lengths = 32 * -(-length // 32) - length
        return np.pad(window, ((0, 0), (min(missing, lengths), 0)), constant_values=np.nan)
    empty = np.isnan(window)
    window = np.where(empty.all(axis=1, keepdims=True), 0.0, window)
    window = fill_from_past(window.T, np.isnan(window.T)).T
    if length < network.shortest_context:
        return np.pad(window, ((0, 0), (network.shortest_context - length, 0)), mode="edge")
    patch = getattr(network, "patch_width", None)
    if patch is not None and network.shortest_context < network.context_length:
        return window[:, length % patch :]
    return window
