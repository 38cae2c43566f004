"""Pictures of an observation; each is a matplotlib figure that stands by itself."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from mixtura.core import LayerStatistics
from mixtura.training.inspection.observation import Layer, Observation

__all__ = ["draw", "load", "png"]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
ACROSS = 4
CATEGORIES = 60
"""More categories than this are pooled to as many for the picture."""


def draw(seen: Observation, other: Observation | None = None) -> dict[str, Figure]:
    """Every picture of an observation by name; with `other`, also the comparison of the two."""
    layers = seen.layers
    pictures = {
        "load": load({name: one.statistics for name, one in layers.items()}),
        "entropy": entropy(layers),
    }
    if any(float(one.statistics.mean_active) > 1.001 for one in layers.values()):
        pictures["together"] = together(layers)
    aspects = dict.fromkeys(aspect for one in layers.values() for aspect in one.aspects)
    for aspect in aspects:
        shown = {
            n: one for n, one in layers.items() if len(one.aspects.get(aspect, ([], []))[1]) > 1
        }
        if shown:
            pictures[f"by-{aspect}"] = by_aspect(shown, aspect)
    if any(len(example) > 1 for one in layers.values() for example in one.examples):
        pictures["examples"] = examples(layers, seen.captions)
    if other is not None:
        pictures["comparison"] = comparison(seen, other)
    return pictures


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def _grid(count: int, width: float, height: float) -> tuple[Figure, list]:
    across = min(ACROSS, count)
    down = math.ceil(count / across)
    figure = Figure(figsize=(width * across, height * down), layout="constrained", dpi=130)
    axes = figure.subplots(down, across, squeeze=False).flatten().tolist()
    for extra in axes[count:]:
        extra.set_visible(False)
    return figure, axes[:count]


def _tidy(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def load(layers: Mapping[str, LayerStatistics]) -> Figure:
    """Share of the assignments of each expert, per layer; the line is balance."""
    figure, places = _grid(len(layers), 3.0, 2.2)
    for axes, (name, statistics) in zip(places, layers.items(), strict=True):
        share = statistics.load.cpu().numpy()
        colours = [COLOURS[e % len(COLOURS)] for e in range(len(share))]
        axes.bar(range(len(share)), share, color=colours)
        axes.axhline(1 / len(share), color="black", lw=0.8, ls=":")
        axes.set_title(name, fontsize=9, loc="left")
        axes.set_xlabel("expert", fontsize=8)
        axes.set_ylim(0, max(0.05, float(share.max()) * 1.15))
        axes.tick_params(labelsize=7)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _tidy(axes)
    places[0].set_ylabel("share of assignments", fontsize=8)
    return figure


def entropy(layers: Mapping[str, Layer]) -> Figure:
    """How even the load is, and how undecided the router, both relative to the largest possible."""
    figure = Figure(figsize=(7.5, 0.45 * len(layers) + 1.1), layout="constrained", dpi=130)
    axes = figure.subplots()
    for place, layer in enumerate(layers.values()):
        largest = math.log(max(2, layer.num_experts))
        axes.barh(
            place - 0.2, float(layer.statistics.load_entropy) / largest, 0.36, color=COLOURS[0]
        )
        undecided = layer.statistics.mean_entropy
        if undecided is not None:
            axes.barh(place + 0.2, float(undecided) / largest, 0.36, color=COLOURS[1])
    axes.barh(0, 0, color=COLOURS[0], label="load over all units")
    axes.barh(0, 0, color=COLOURS[1], label="router, mean per unit")
    axes.set_yticks(range(len(layers)), list(layers), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("entropy / log(experts)", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _tidy(axes)
    return figure


def together(layers: Mapping[str, Layer]) -> Figure:
    """Of the units of the row's expert, the share on which the column's expert worked too."""
    figure, places = _grid(len(layers), 2.6, 2.5)
    for axes, (name, layer) in zip(places, layers.items(), strict=True):
        counts = layer.together.float().cpu()
        share = (counts / counts.diagonal().clamp_min(1)[:, None]).fill_diagonal_(torch.nan)
        axes.imshow(share.numpy(), cmap="viridis", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.set_xlabel("expert", fontsize=8)
    figure.colorbar(places[-1].images[-1], ax=places, shrink=0.8)
    return figure


def by_aspect(layers: Mapping[str, Layer], aspect: str) -> Figure:
    """Share of each expert in the units of each category of an aspect."""
    figure, places = _grid(len(layers), 3.1, 2.9)
    for axes, (name, layer) in zip(places, layers.items(), strict=True):
        counts, names = layer.aspects[aspect]
        shares, names = _pooled(counts.float().cpu().numpy(), names)
        image = axes.imshow(shares.T, aspect="auto", cmap="viridis", vmin=0, vmax=shares.max())
        axes.set_title(name, fontsize=9, loc="left")
        step = max(1, len(names) // 8)
        turned = 30 if max(map(len, names)) > 4 else 0
        axes.set_xticks(range(0, len(names), step), names[::step], fontsize=7, rotation=turned)
        axes.set_yticks(range(layer.num_experts)[:: max(1, layer.num_experts // 8)])
        axes.tick_params(labelsize=7)
        axes.set_xlabel(aspect, fontsize=8)
        figure.colorbar(image, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)
    places[0].set_ylabel("expert", fontsize=8)
    return figure


def _pooled(counts: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    if len(names) > CATEGORIES:
        edges = np.linspace(0, len(names), CATEGORIES + 1).astype(int)
        counts = np.add.reduceat(counts, edges[:-1])
        names = [names[int(edge)] for edge in edges[:-1]]
    return counts / np.maximum(counts.sum(1, keepdims=True), 1), list(names)


def examples(layers: Mapping[str, Layer], captions: Sequence[str]) -> Figure:
    """For single samples: the expert of each unit, layer by layer."""
    count = max(len(layer.examples) for layer in layers.values())
    height = 0.28 * len(layers) + 0.55
    figure = Figure(figsize=(9, height * count + 0.5), layout="constrained", dpi=130)
    places = figure.subplots(count, 1, squeeze=False)[:, 0]
    experts = max(layer.num_experts for layer in layers.values())
    palette = ListedColormap(["#ffffff", *(COLOURS[e % len(COLOURS)] for e in range(experts))])
    for number, axes in enumerate(places):
        for row, layer in enumerate(layers.values()):
            if number >= len(layer.examples):
                continue
            strip = layer.examples[number].cpu().numpy()[None] + 1
            extent = (0, 1, row + 0.45, row - 0.45)
            axes.imshow(
                strip,
                aspect="auto",
                cmap=palette,
                vmin=0,
                vmax=experts,
                extent=extent,
                interpolation="nearest",
            )
        axes.set_ylim(len(layers) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        axes.set_yticks(range(len(layers)), list(layers), fontsize=7)
        axes.set_xticks([0, 1], ["first unit", "last unit"], fontsize=7)
        caption = captions[number] if number < len(captions) else f"sample {number}"
        axes.set_title(caption, fontsize=9, loc="left")
    handles = [
        places[0].plot([], [], "s", color=COLOURS[e % len(COLOURS)], label=f"expert {e}")[0]
        for e in range(min(experts, len(COLOURS)))
    ]
    figure.legend(handles=handles, frameon=False, fontsize=7, ncols=8, loc="outside lower center")
    return figure


def comparison(seen: Observation, other: Observation) -> Figure:
    """Load of each expert in two checkpoints."""
    names = [name for name in seen.layers if name in other.layers]
    figure, places = _grid(len(names), 3.0, 2.2)
    for axes, name in zip(places, names, strict=True):
        for number, one in enumerate((seen, other)):
            share = one.layers[name].statistics.load.cpu().numpy()
            at = np.arange(len(share)) + (number - 0.5) * 0.4
            axes.bar(at, share, 0.38, color=COLOURS[number], label=one.name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.set_xlabel("expert", fontsize=8)
        _tidy(axes)
    handles, labels = places[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside lower center")
    return figure
