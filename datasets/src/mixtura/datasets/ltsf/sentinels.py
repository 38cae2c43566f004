"""Readings that stand for "no reading"."""

import numpy as np
from jaxtyping import Float

__all__ = ["clean_sentinels"]


def clean_sentinels(
    values: Float[np.ndarray, "rows variates"], sentinel: float = -9999.0
) -> Float[np.ndarray, "rows variates"]:
    """A copy in which each sentinel is the last proper reading of its variate before it.

    Only the past is used. Sentinels at the very beginning take the first proper reading; a variate
    that holds nothing else is left as it is. The Jena weather file has 81 of them, all in its
    training rows; the papers keep them, which makes two of its variates count for little.
    """
    proper = values != sentinel
    last = np.where(proper, np.arange(len(values))[:, None], -1)
    last = np.maximum.accumulate(last, axis=0)
    last = np.where(last < 0, proper.argmax(axis=0), last)
    return np.take_along_axis(values, last, axis=0)
