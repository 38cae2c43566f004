"""Cells without a reading, filled from the past."""

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["clean_sentinels", "fill_from_past"]


def fill_from_past(
    values: Float[np.ndarray, "rows variates"], missing: Bool[np.ndarray, "rows variates"]
) -> Float[np.ndarray, "rows variates"]:
    """A copy in which each missing cell is the last proper reading of its column before it.

    Cells before the first proper reading take that one; a column without any is left as it is.
    """
    last = np.where(missing, -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(last, axis=0)
    last = np.where(last < 0, (~missing).argmax(axis=0), last)
    return np.take_along_axis(values, last, axis=0)


def clean_sentinels(
    values: Float[np.ndarray, "rows variates"], sentinel: float = -9999.0
) -> Float[np.ndarray, "rows variates"]:
    """A copy in which each reading of `sentinel`, which stands for none, is filled from the past.

    The Jena weather file has 81 of them, all in its training rows; the papers keep them, which
    makes two of its variates count for little in scaled scores.
    """
    return fill_from_past(values, values == sentinel)
