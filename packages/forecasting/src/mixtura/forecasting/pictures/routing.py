"""Which expert takes which segment of a window, and how much each expert has to do."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.patches import Patch

from mixtura.forecasting.pictures.palette import INK, colour, figure

__all__ = ["plot_routing"]


def plot_routing(
    path: str | Path,
    window: Float[np.ndarray, " time"],
    chosen: Mapping[str, Int[np.ndarray, " segments"]],
    spans: Mapping[str, int],
    load: Mapping[str, Float[np.ndarray, " experts"]],
    *,
    title: str = "",
    unit: str = "",
) -> Path:
    """The window above, below it one stripe of experts per layer, and beside it each layer's load.

    Args:
        path: PNG, PDF or SVG file.
        window: one series as the model saw it.
        chosen: by layer, the first expert of each segment.
        spans: by layer, points of a segment.
        load: by layer, share of all test segments that each expert got.
        title: what the window is.
        unit: of the values.
    """
    layers = list(chosen)
    experts = max(len(share) for share in load.values())
    picture = figure(10, 2.1 + 0.55 * len(layers))
    grid = picture.add_gridspec(
        len(layers) + 1, 2, width_ratios=(4, 1), height_ratios=(3, *[1] * len(layers))
    )
    series = picture.add_subplot(grid[0, 0])
    series.plot(window, color=INK, linewidth=0.9)
    series.set_title(title)
    series.set_ylabel(unit)
    series.set_xlim(0, len(window))
    series.tick_params(labelbottom=False)
    for row, layer in enumerate(layers, start=1):
        stripe = picture.add_subplot(grid[row, 0], sharex=series)
        for position, expert in enumerate(chosen[layer]):
            begin = position * spans[layer]
            width = min(spans[layer], len(window) - begin)
            stripe.barh(0, width, left=begin, height=0.9, color=colour(int(expert)), edgecolor="w")
        stripe.set_yticks([0], [layer])
        stripe.spines[:].set_visible(False)
        stripe.tick_params(length=0, labelbottom=row == len(layers))
        bars = picture.add_subplot(grid[row, 1])
        share = load[layer]
        bars.bar(range(len(share)), share, color=[colour(e) for e in range(len(share))])
        bars.axhline(1 / len(share), color=INK, linewidth=0.6, linestyle=":")
        bars.set_ylim(0, max(1.15 * share.max(), 0.5))
        bars.set_xticks([])
        bars.yaxis.tick_right()
        bars.spines[:].set_visible(False)
        if row == 1:
            bars.set_title("share of the segments")
        if row == len(layers):
            stripe.set_xlabel("steps of the look-back")
    corner = picture.add_subplot(grid[0, 1])
    corner.axis("off")
    patches = [Patch(color=colour(expert), label=f"expert {expert}") for expert in range(experts)]
    corner.legend(handles=patches, loc="center", ncols=1 + (experts > 5))
    picture.savefig(path)
    return Path(path)
