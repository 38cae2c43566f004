"""The pictures that `inspect` adds for a forecasting network."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mixtura.core import moe_layers
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting.inspection.measures import (
    by_clock,
    by_horizon,
    clock,
    energy_by_expert,
)
from mixtura.forecasting.inspection.windows import ExpertView, expert_views, mixture_of
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.pictures.experts import (
    plot_expert_errors,
    plot_expert_table,
    plot_segment_maps,
)

__all__ = ["expert_pictures", "spaced_windows"]

SERIES = 512
"""Series that are looked at, all variates of some test windows."""
MOST, FEWEST = 128, 8


def spaced_windows(data: LTSFDataModule) -> Tensor:
    """Numbers of test windows of the first series, with equal distances."""
    total = len(data.source_of(next(iter(data.tables)), "test"))
    count = min(total, max(FEWEST, min(MOST, SERIES // data.variates)))
    return torch.from_numpy(np.linspace(0, total - 1, count).round()).long()


@torch.no_grad()
def expert_pictures(
    folder: Path,
    network: ForecastNetwork,
    data: LTSFDataModule,
    past: Tensor,
    future: Tensor,
    marks: Tensor | None,
    index: Tensor,
) -> dict[str, Path]:
    """Experts by the clock and by frequency, segment maps, and errors by expert.

    Args:
        folder: of the PNG files.
        network: the trained network.
        data: what it was trained on.
        past: look-backs of some test windows (windows, variates, time).
        future: what came after them.
        marks: calendar features and covariates, if the network looks at them.
        index: row of the table at which each window begins.

    Returns:
        The files by title.
    """
    if not moe_layers(network):
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    width = getattr(mixture_of(network), "patch_width", 1)
    spare = past.shape[-1] % width
    seen, length = past[..., spare:], past.shape[-1] - spare
    shifted = None if marks is None else marks[..., spare:]
    views = {_short(name): view for name, view in expert_views(network, seen, shifted).items()}
    files: dict[str, Path] = {}
    stamps, frequency = data.table.stamps, data.table.frequency
    rows = index.numpy()[:, None] + spare + np.arange(length)
    if stamps is not None and frequency is not None:
        places, cycle, names = clock(stamps[rows.flatten()], frequency)
        places = places.reshape(rows.shape).repeat(past.shape[1], 0)
        files[f"Expert by {cycle}"] = plot_expert_table(
            folder / "expert-by-clock.png",
            {layer: by_clock(view, places, len(names)) for layer, view in views.items()},
            dict.fromkeys(views, names),
            xlabel=cycle,
            value="share / share over all points",
        )
    files["Expert by frequency content"] = _frequencies(folder, views, seen.flatten(0, 1).cpu())
    files[f"Segment maps of {data.table.channels[-1]}"] = _maps(folder, views, data, index)
    error = (network.forecast(past, future.shape[-1], marks) - future).flatten(0, 1).cpu()
    found = {layer: by_horizon(view, error) for layer, view in views.items()}
    files["Error over the horizon, by the expert of the newest part of the look-back"] = (
        plot_expert_errors(
            folder / "expert-errors.png",
            {layer: table for layer, (table, _) in found.items()},
            {layer: counts for layer, (_, counts) in found.items()},
            error.abs().mean(0).numpy(),
        )
    )
    return files


def _frequencies(folder: Path, views: dict[str, ExpertView], windows: Tensor) -> Path:
    tables, names = {}, {}
    for layer, view in views.items():
        tables[layer], octaves = energy_by_expert(view, windows)
        names[layer] = [f"{low}-{high}" if high else f"{low}+" for low, high in octaves]
    return plot_expert_table(
        folder / "expert-by-frequency.png",
        tables,
        names,
        xlabel="period in points",
        value="energy / energy of all units",
    )


def _maps(folder: Path, views: dict[str, ExpertView], data: LTSFDataModule, index: Tensor) -> Path:
    """Every window's last variate."""
    variates = data.variates
    stamps = data.table.stamps
    names = [
        f"row {int(row)}" if stamps is None else f"{pd.Timestamp(stamps[int(row)]):%Y-%m-%d}"
        for row in index
    ]
    return plot_segment_maps(
        folder / "segment-maps.png",
        {layer: view.chosen[variates - 1 :: variates].numpy() for layer, view in views.items()},
        {layer: view.span for layer, view in views.items()},
        max(view.num_experts for view in views.values()),
        rows=names,
    )


def _short(layer: str) -> str:
    """`layer 3` for `network.blocks.2.mixture`."""
    number = next((part for part in layer.split(".") if part.isdigit()), None)
    return layer if number is None else f"layer {int(number) + 1}"
