"""Pictures of what experts do: heat maps, segment maps, errors over the horizon."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mixtura.forecasting.pictures.palette import COLOURS, INK, colour, figure

__all__ = ["plot_expert_errors", "plot_expert_table", "plot_segment_maps"]

ACROSS = 3


def plot_expert_table(
    path: str | Path,
    tables: Mapping[str, Float[np.ndarray, "experts categories"]],
    names: Mapping[str, Sequence[str]],
    *,
    xlabel: str,
    value: str,
) -> Path:
    """A heat map per layer: experts in rows, categories in columns; idle ones stay grey.

    Args:
        path: PNG, PDF or SVG file.
        tables: by layer; 1 is the average, drawn white.
        names: of each layer's categories.
        xlabel: what the categories are.
        value: what the numbers are.
    """
    picture, places = _grid(len(tables), 3.6, 2.5)
    away = [np.nanmax(np.abs(table - 1)) for table in tables.values()]
    most = min(1.0, max(0.05, float(np.max(away))))
    image, shades = None, mpl.colormaps["RdBu_r"].with_extremes(bad="#dddddd")
    for axes, (layer, table) in zip(places, tables.items(), strict=True):
        image = axes.imshow(table, aspect="auto", cmap=shades, vmin=1 - most, vmax=1 + most)
        axes.set_title(layer)
        step = max(1, len(names[layer]) // 8)
        axes.set_xticks(range(0, len(names[layer]), step), names[layer][::step], fontsize=7)
        axes.set_yticks(range(len(table)), [str(each) for each in range(len(table))], fontsize=7)
        axes.set_xlabel(xlabel)
        axes.set_ylabel("expert")
        axes.spines[:].set_visible(False)
    bar = picture.colorbar(image, ax=places, shrink=0.9)  # pyright: ignore[reportArgumentType]
    bar.set_label(value)
    picture.savefig(path)
    return Path(path)


def plot_segment_maps(
    path: str | Path,
    maps: Mapping[str, Int[np.ndarray, "windows units"]],
    spans: Mapping[str, int],
    num_experts: int,
    *,
    rows: Sequence[str],
) -> Path:
    """Per layer one row of colours for each window: who worked on which part of it.

    Args:
        path: PNG, PDF or SVG file.
        maps: by layer, the expert of each unit of each window, -1 for none.
        spans: by layer, points of a unit.
        num_experts: of the layer with most.
        rows: what each window is, the oldest first.
    """
    height = 0.9 + 0.055 * max(len(chosen) for chosen in maps.values())
    picture, places = _grid(len(maps), 3.6, max(2.2, height))
    colours = ["#ffffff", *(colour(expert) for expert in range(num_experts))]
    for axes, (layer, chosen) in zip(places, maps.items(), strict=True):
        axes.imshow(
            chosen + 1,
            aspect="auto",
            cmap=ListedColormap(colours),
            vmin=0,
            vmax=num_experts,
            interpolation="nearest",
            extent=(0, chosen.shape[1] * spans[layer], len(chosen), 0),
        )
        axes.set_title(layer)
        axes.set_xlabel("point of the look-back")
        ends = sorted({0, len(chosen) // 2, len(chosen) - 1})
        axes.set_yticks([end + 0.5 for end in ends], [rows[end] for end in ends], fontsize=7)
    _legend(picture, num_experts)
    picture.savefig(path)
    return Path(path)


def plot_expert_errors(
    path: str | Path,
    errors: Mapping[str, Float[np.ndarray, "experts horizon"]],
    counts: Mapping[str, Int[np.ndarray, " experts"]],
    whole: Float[np.ndarray, " horizon"],
) -> Path:
    """Mean absolute error of each step of the horizon, a line for each expert.

    Args:
        path: PNG, PDF or SVG file.
        errors: by layer; NaN for an expert without windows.
        counts: by layer, windows of each expert.
        whole: the error of all windows.
    """
    picture, places = _grid(len(errors), 3.6, 2.5)
    steps = np.arange(1, len(whole) + 1)
    for axes, (layer, table) in zip(places, errors.items(), strict=True):
        axes.plot(steps, whole, color=INK, linewidth=1.4, linestyle=":", label="all")
        for expert, line in enumerate(table):
            if counts[layer][expert]:
                label = f"{expert} ({counts[layer][expert]})"
                axes.plot(steps, line, color=colour(expert), linewidth=1.0, label=label)
        axes.set_title(layer)
        axes.set_xlabel("step of the horizon")
        axes.set_ylabel("mean absolute error")
        axes.set_ylim(bottom=0)
        axes.legend(
            title="expert (windows)", fontsize=6, title_fontsize=6, loc="lower center", ncols=3
        )
    picture.savefig(path)
    return Path(path)


def _grid(count: int, width: float, height: float) -> tuple[Figure, list]:
    across = min(ACROSS, count)
    down = -(-count // across)
    picture = figure(width * across, height * down + 0.3)
    places = picture.subplots(down, across, squeeze=False).flatten().tolist()
    for extra in places[count:]:
        extra.set_visible(False)
    return picture, places[:count]


def _legend(picture: Figure, num_experts: int) -> None:
    shown = min(num_experts, len(COLOURS))
    patches = [Patch(color=colour(expert), label=f"expert {expert}") for expert in range(shown)]
    picture.legend(handles=patches, ncols=shown, fontsize=7, loc="outside lower center")
