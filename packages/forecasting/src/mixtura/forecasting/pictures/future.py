"""A forecast of what is not known yet, one panel per variate."""

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from mixtura.forecasting.pictures.palette import INK, colour, figure

__all__ = ["plot_future"]

PANELS = 8


def plot_future(
    path: str | Path,
    past: pd.DataFrame,
    future: pd.DataFrame,
    band: Float[np.ndarray, "levels horizon variates"] | None = None,
) -> Path:
    """The end of the series and its forecast.

    Args:
        path: PNG, PDF or SVG file.
        past: the last observations.
        future: the forecast, with the same columns; of many, the first eight are drawn.
        band: quantiles in increasing order; the space between the outer ones is shaded.
    """
    columns = list(future.columns)[:PANELS]
    picture = figure(9, 1.2 * len(columns) + 0.6)
    axes = picture.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    for number, (axis, column) in enumerate(zip(axes, columns, strict=True)):
        if band is not None:
            low, high = band[0, :, number], band[-1, :, number]
            axis.fill_between(future.index, low, high, color=colour(0), alpha=0.2, linewidth=0)
        axis.plot(past.index, past[column], color=INK, linewidth=1.0)
        joined = pd.concat([past[column].iloc[-1:], future[column]])
        axis.plot(joined.index, joined, color=colour(0), linewidth=1.5)
        axis.set_ylabel(column)
    axes[0].set_title(f"{len(future)} steps from {future.index[0]}")
    picture.savefig(path)
    return Path(path)
