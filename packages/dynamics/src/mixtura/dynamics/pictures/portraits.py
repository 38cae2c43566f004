"""Phase portraits: true against reconstructed, one panel per environment."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["COLOURS", "draw_portraits"]

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C564B",
    "#7F7F7F",
    "#BCBD22",
    "#17BECF",
)


def draw_portraits(
    path: Path,
    true: Float[Tensor, "environments trajectories times dims"],
    reconstructed: Float[Tensor, "environments trajectories times dims"],
    expert: Int[Tensor, "environments"],
    *,
    trajectories: int = 4,
    columns: int = 5,
    most: int = 40,
    dims: tuple[int, int] = (0, 1),
) -> Path:
    """One panel per environment: true in grey dots, reconstructed in the colour of its expert.

    Where a true state is NaN there is nothing to compare, and nothing is drawn.
    """
    count = min(len(true), most)
    columns = min(columns, count)
    rows = -(-count // columns)
    size = (max(2.3 * columns, 4.8), max(2.1 * rows, 3.6))  # room for the title
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    error = (reconstructed - true).square().flatten(1).nanmean(1)
    reconstructed = reconstructed.where(true.isfinite(), torch.nan)
    for number, axis in enumerate(axes.flat):
        if number >= count:
            axis.set_visible(False)
            continue
        colour = COLOURS[int(expert[number]) % len(COLOURS)]
        for n in range(min(trajectories, true.shape[1])):
            pairs = ((true[number, n], "true"), (reconstructed[number, n], "model"))
            for states, kind in pairs:
                a, b = plane(states, dims)
                if kind == "true":
                    axis.plot(a, b, "o", color="0.6", markersize=3)
                else:
                    axis.plot(a, b, "-", color=colour, linewidth=1.2)
        which = f"environment {number}, expert {int(expert[number])}"
        axis.set_title(f"{which}, MSE {float(error[number]):.1e}", fontsize=7)
        axis.tick_params(labelsize=6)
    shown = (
        (count, len(true), "environments"),
        (trajectories, true.shape[1], "trajectories of each"),
    )
    parts = " and ".join(f"{some} of {there} {what}" for some, there, what in shown if some < there)
    title = "true (dots) and reconstructed (lines, coloured by expert)"
    figure.suptitle(f"{title}\n{parts}".strip(), fontsize=9)
    figure.savefig(path, dpi=110)
    return path


def plane(states: Tensor, dims: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two coordinates to draw: two dimensions, or time and the only one."""
    if states.shape[-1] == 1:
        return np.arange(len(states)), states[:, 0].numpy()
    return states[:, dims[0]].numpy(), states[:, dims[1]].numpy()
