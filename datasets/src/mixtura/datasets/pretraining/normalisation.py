"""Scaling of a sequence by all of its own numbers: for training, never for evaluation."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

__all__ = ["MaxNormalisation", "NoNormalisation", "Normalisation", "Shift", "ZeroNormalisation"]


class Shift(NamedTuple):
    """`(x - centre) / scale`."""

    centre: float
    scale: float


@runtime_checkable
class Normalisation(Protocol):
    """How a sequence is scaled."""

    def shift(self, sequence: Float[np.ndarray, " points"]) -> Shift:
        """Centre and scale of a whole sequence."""
        ...


class ZeroNormalisation:
    """Mean 0 and population deviation 1; a constant sequence is only centred."""

    def shift(self, sequence: Float[np.ndarray, " points"]) -> Shift:
        """See `Normalisation`."""
        constant = sequence.max() == sequence.min()
        return Shift(float(sequence.mean()), 1.0 if constant else float(sequence.std()) or 1.0)


class MaxNormalisation:
    """Largest absolute value 1; a sequence of zeros stays."""

    def shift(self, sequence: Float[np.ndarray, " points"]) -> Shift:
        """See `Normalisation`."""
        return Shift(0.0, float(np.abs(sequence).max()) or 1.0)


class NoNormalisation:
    """The numbers as they are."""

    def shift(self, sequence: Float[np.ndarray, " points"]) -> Shift:
        """See `Normalisation`."""
        return Shift(0.0, 1.0)
