"""Routing as training goes on: which expert has which environment, and where the contexts are."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from mixtura.dynamics.pictures.contexts import MARKERS, project
from mixtura.dynamics.pictures.portraits import COLOURS
from mixtura.dynamics.reconstruction import Reconstruction

__all__ = ["RoutingHistory", "animate_routing", "draw_routing"]


@dataclass
class RoutingHistory:
    """Experts and contexts at every outer step.

    Attributes:
        experts: expert of each environment, one entry per step.
        contexts: their contexts, one entry per step.
        losses: of the steps.
    """

    experts: list[Int[Tensor, "environments"]] = field(default_factory=list)
    contexts: list[Float[Tensor, "environments context"]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, system: Reconstruction, loss: float) -> None:
        """Remember the present state."""
        self.experts.append(system.family())
        self.contexts.append(system.contexts.detach().clone())
        self.losses.append(loss)


def draw_routing(
    path: Path, history: RoutingHistory, num_experts: int, family: Tensor | None = None
) -> Path:
    """Environments down, outer steps to the right, colour is the expert; the loss below."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    colours = ListedColormap([COLOURS[e % len(COLOURS)] for e in range(num_experts)])
    norm = BoundaryNorm([e - 0.5 for e in range(num_experts + 1)], colours.N)
    image = above.imshow(
        torch.stack(history.experts, 1).numpy(),
        aspect="auto",
        cmap=colours,
        norm=norm,
        interpolation="nearest",
    )
    figure.colorbar(image, ax=above, ticks=range(num_experts), label="expert")
    if family is not None:
        for border in torch.nonzero(family.diff())[:, 0].tolist():
            above.axhline(border + 0.5, color="black", linewidth=0.8)
    above.set_ylabel("environment")
    above.yaxis.get_major_locator().set_params(integer=True)
    below.semilogy(history.losses, color="0.3", linewidth=1)
    below.set_xlabel("outer step")
    below.xaxis.get_major_locator().set_params(integer=True)
    below.set_ylabel("loss")
    figure.savefig(path, dpi=120)
    return path


def animate_routing(
    path: Path, history: RoutingHistory, family: Tensor | None = None, frames: int = 40
) -> Path:
    """The context space, animated: colour is the expert, the marker the true family."""
    stride = max(len(history.contexts) // frames, 1)
    last = len(history.contexts) - 1
    steps = [*range(0, last, stride), last]
    everything = torch.cat([history.contexts[s] for s in steps])
    points = project(everything).view(len(steps), -1, 2)
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axis = figure.subplots()
    margin = 0.05 * (points.amax((0, 1)) - points.amin((0, 1))) + 1e-6
    low, high = points.amin((0, 1)) - margin, points.amax((0, 1)) + margin
    labels = torch.zeros(points.shape[1], dtype=torch.long) if family is None else family

    def draw(frame: int) -> list:
        axis.clear()
        axis.set_xlim(float(low[0]), float(high[0]))
        axis.set_ylim(float(low[1]), float(high[1]))
        expert = history.experts[steps[frame]]
        for label in labels.unique().tolist():
            members = labels == label
            axis.scatter(
                points[frame, members, 0].numpy(),
                points[frame, members, 1].numpy(),
                c=[COLOURS[int(e) % len(COLOURS)] for e in expert[members]],
                marker=MARKERS[label % len(MARKERS)],
                s=30,
            )
        loss = history.losses[steps[frame]]
        axis.set_xlabel("first principal component of the context", fontsize=8)
        axis.set_ylabel("second", fontsize=8)
        axis.set_title(f"outer step {steps[frame] + 1}, loss {loss:.2g}", fontsize=9)
        return []

    animation = FuncAnimation(figure, draw, frames=len(steps), blit=False)
    animation.save(path, writer=PillowWriter(fps=6))
    return path
