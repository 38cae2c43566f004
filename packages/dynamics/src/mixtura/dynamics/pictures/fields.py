"""Vector fields of some environments in the plane."""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from mixtura.core import InputError
from mixtura.dynamics.pictures.portraits import COLOURS
from mixtura.dynamics.reconstruction import Reconstruction

__all__ = ["draw_fields"]


@torch.no_grad()
def draw_fields(
    path: Path,
    system: Reconstruction,
    states: Float[Tensor, "environments trajectories times dims"],
    environments: Sequence[int],
    *,
    points: int = 18,
    columns: int = 4,
) -> Path:
    """Stream lines of the learnt field over the region of the data, which lie on top."""
    if states.shape[-1] != 2:
        raise InputError(f"vector fields are drawn in two dimensions, got {states.shape[-1]}")
    columns = min(columns, len(environments))
    rows = -(-len(environments) // columns)
    figure = Figure(figsize=(3 * columns, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    field = system.mixer.field(system.contexts, routing=system.route())
    expert = system.family()
    for axis in list(axes.flat)[len(environments) :]:
        axis.set_visible(False)
    for axis, number in zip(axes.flat, environments, strict=False):
        seen = states[number].reshape(-1, 2)
        seen = seen[seen.isfinite().all(1)]
        low, high = seen.amin(0), seen.amax(0)
        margin = 0.1 * (high - low) + 1e-6
        x = torch.linspace(float(low[0] - margin[0]), float(high[0] + margin[0]), points)
        y = torch.linspace(float(low[1] - margin[1]), float(high[1] + margin[1]), points)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)
        scaled = (grid - system.center) / system.scale
        everywhere = scaled.expand(len(states), -1, -1)
        change = field(everywhere)[number]
        if system.mixer.experts.discrete:
            change = change - scaled  # a map: from a state to the one that follows it
        velocity = (change * system.scale).view(points, points, 2)
        colour = COLOURS[int(expert[number]) % len(COLOURS)]
        axis.streamplot(
            x.numpy(),
            y.numpy(),
            velocity[..., 0].numpy(),
            velocity[..., 1].numpy(),
            color=colour,
            linewidth=0.7,
            density=0.9,
            arrowsize=0.7,
        )
        axis.plot(seen[:, 0].numpy(), seen[:, 1].numpy(), ".", color="0.3", markersize=2)
        axis.set_title(f"environment {number}, expert {int(expert[number])}", fontsize=8)
        axis.tick_params(labelsize=6)
    figure.savefig(path, dpi=110)
    return path
