"""The context space with its clusters, and what the gate makes of it."""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from mixtura.dynamics.pictures.portraits import COLOURS

__all__ = ["draw_contexts", "draw_gate", "project"]

MARKERS = "osD^vP*X<>"


def draw_contexts(
    path: Path,
    contexts: Float[Tensor, "environments context"],
    expert: Int[Tensor, "environments"],
    family: Int[Tensor, "environments"] | None = None,
) -> Path:
    """The first two principal components; colour is the expert, the marker the true family."""
    points = project(contexts)
    labels = torch.zeros_like(expert) if family is None else family
    figure = Figure(figsize=(5, 4.2 + 0.1 * len(labels.unique())), layout="constrained")
    axis = figure.subplots()
    for label in labels.unique().tolist():
        for e in expert.unique().tolist():
            members = (labels == label) & (expert == e)
            if not bool(members.any()):
                continue
            axis.scatter(
                points[members, 0].numpy(),
                points[members, 1].numpy(),
                color=COLOURS[e % len(COLOURS)],
                marker=MARKERS[label % len(MARKERS)],
                s=34,
                edgecolors="white",
                linewidths=0.4,
                label=f"family {label}, expert {e}" if family is not None else f"expert {e}",
            )
    axis.set_xlabel("first principal component of the context")
    axis.set_ylabel("second")
    figure.legend(loc="outside lower center", fontsize=7, ncols=2)
    axis.set_title("contexts", fontsize=10)
    figure.savefig(path, dpi=120)
    return path


def draw_gate(
    path: Path,
    scores: Float[Tensor, "environments experts"],
    family: Int[Tensor, "environments"] | None = None,
) -> Path:
    """Probabilities of the gate, environments by experts; lines separate the true families."""
    figure = Figure(figsize=(1.2 + 0.5 * scores.shape[1], 1.0 + 0.17 * len(scores)))
    figure.set_layout_engine("constrained")
    axis = figure.subplots()
    image = axis.imshow(scores.numpy(), aspect="auto", cmap="viridis", vmin=0)
    figure.colorbar(image, label="gate probability")
    if family is not None:
        for border in torch.nonzero(family.diff())[:, 0].tolist():
            axis.axhline(border + 0.5, color="white", linewidth=1.2)
    axis.set_xticks(range(scores.shape[1]))
    axis.set_xlabel("expert")
    axis.set_ylabel("environment")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=120)
    return path


def project(points: Float[Tensor, "n width"]) -> Float[Tensor, "n two"]:
    """The first two principal components."""
    centred = points - points.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    projected = centred @ directions[:2].T
    if projected.shape[1] < 2:
        projected = torch.cat([projected, torch.zeros_like(projected)], 1)
    return projected
