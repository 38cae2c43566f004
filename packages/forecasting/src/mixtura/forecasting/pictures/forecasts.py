"""Forecasts of several models on the same windows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mixtura.forecasting.pictures.palette import INK, colour, figure

__all__ = ["plot_forecasts"]


def plot_forecasts(
    path: str | Path,
    past: Float[np.ndarray, "panels look_back"],
    future: Float[np.ndarray, "panels horizon"],
    forecasts: Mapping[str, Float[np.ndarray, "panels horizon"]],
    titles: Sequence[str],
    *,
    unit: str = "",
    shown: int | None = None,
) -> Path:
    """One panel per window: the past, what came, and each model's forecast.

    Args:
        path: PNG, PDF or SVG file.
        past: what the models saw.
        future: what came.
        forecasts: by model.
        titles: one for each panel.
        unit: of the values.
        shown: points of the past to draw; twice the horizon if not given.
    """
    panels, horizon = future.shape
    seen: int = min(past.shape[1], 2 * horizon if shown is None else shown)
    picture = figure(9, 1.9 * panels + 0.5)
    axes = picture.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    ahead = np.arange(horizon)
    for panel, axis in enumerate(axes):
        joined = np.concatenate([past[panel, -seen:], future[panel, :1]])
        axis.plot(np.arange(-seen, 1), joined, color=INK, linewidth=1.0, label="past")
        axis.plot(ahead, future[panel], color=INK, linewidth=1.0, alpha=0.45, label="what came")
        for number, (name, forecast) in enumerate(forecasts.items()):
            axis.plot(ahead, forecast[panel], color=colour(number), linewidth=1.5, label=name)
        axis.axvline(0, color=INK, linewidth=0.6, linestyle=":")
        axis.set_title(titles[panel])
        axis.set_ylabel(unit)
    axes[-1].set_xlabel("steps after the last observation")
    handles, labels = axes[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    picture.savefig(path)
    return Path(path)
