"""Hellinger distance of power spectra: do two systems oscillate alike?"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

__all__ = ["power_spectrum", "power_spectrum_distance"]


def power_spectrum_distance(
    generated: Float[Tensor, "steps dims"], true: Float[Tensor, "times dims"], smoothing: float = 20
) -> Float[Tensor, ""]:
    """Mean over dimensions of `sqrt(1 - sum sqrt(p q))` of smoothed, normalised power spectra.

    Mikhaeil et al., On the difficulty of learning chaotic dynamics with RNNs, 2022,
    arXiv 2110.07238; Brenner et al., 2022, arXiv 2207.02542.

    Args:
        generated: a long run of the model.
        true: a long run of the system, of the same length.
        smoothing: standard deviation of the Gaussian filter, in frequency bins.
    """
    length = min(len(generated), len(true))
    pairs = zip(generated[:length].T, true[:length].T, strict=True)
    distances = []
    for a, b in pairs:
        affinity = np.sum(np.sqrt(power_spectrum(a, smoothing) * power_spectrum(b, smoothing)))
        # rounding may push the affinity of equal spectra above one
        distances.append(np.sqrt(np.maximum(1 - affinity, 0)))
    return torch.as_tensor(np.mean(distances))


def power_spectrum(x: Float[Tensor, "times"], smoothing: float) -> np.ndarray:
    """Smoothed power spectrum (frequencies) of one series, summing to one, in its precision."""
    series = x.detach().cpu().numpy()
    deviation = series.std()
    series = (series - series.mean()) / (deviation if deviation > 0 else 1)
    power = np.abs(np.fft.rfft(series)) ** 2 * 2 / len(series)
    smoothed = gaussian_filter1d(power, smoothing) if smoothing else power
    total = smoothed.sum()
    return smoothed / (total if total > 0 else 1)
