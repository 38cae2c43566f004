"""The pictures of a comparison: forecasts of a few test windows, and what the experts do."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mixtura.core import LayerStatistics, record_routing
from mixtura.datasets import LTSFDataModule, WindowBatch
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.seg_moe import SegMoE
from mixtura.forecasting.pictures import plot_forecasts, plot_routing

__all__ = ["draw_forecasts", "draw_routing", "expert_loads"]

PANELS = 3
SAMPLE = 64
"""Test windows, evenly spaced, over which the load of the experts is counted."""


def spaced(data: LTSFDataModule, count: int) -> WindowBatch:
    """Test windows with equal distances, none at the very ends."""
    source = data.source("test")
    numbers = np.linspace(0, len(source) - 1, count + 2).round()[1:-1]
    return source[torch.from_numpy(numbers).long()]


def draw_forecasts(
    path: Path,
    data: LTSFDataModule,
    networks: Mapping[str, ForecastNetwork],
    names: Sequence[str],
    variate: int = -1,
) -> Path:
    """Forecasts of some models on three test windows of one variate, in the units of the data."""
    batch = spaced(data, PANELS)
    mean, scale = data.scaler.mean[variate], data.scaler.scale[variate]

    def units(values: torch.Tensor) -> np.ndarray:
        return values[..., variate].double().numpy() * scale + mean

    forecasts = {
        name: units(
            networks[name].forecast(batch.past.transpose(1, 2), data.horizon).transpose(1, 2)
        )
        for name in names
    }
    channel = data.table.channels[variate]
    return plot_forecasts(
        path,
        units(batch.past),
        units(batch.future),
        forecasts,
        [f"{data.table.name}, {channel}, test window from {when(data, row)}" for row in now(batch)],
        unit=channel,
    )


@torch.no_grad()
def expert_loads(data: LTSFDataModule, network: SegMoE) -> dict[str, LayerStatistics]:
    """What the experts of each layer get to do, over some test windows."""
    network.eval()
    with record_routing(network) as record:
        network(spaced(data, SAMPLE).past.transpose(1, 2))
    return record.statistics()


def draw_routing(path: Path, data: LTSFDataModule, network: SegMoE, variate: int = -1) -> Path:
    """The experts of one test window of a variate, and the load over many."""
    load = {name: one.load.numpy() for name, one in expert_loads(data, network).items()}
    one = spaced(data, 1)
    with torch.no_grad(), record_routing(network) as record:
        network(one.past[..., variate].unsqueeze(1))
    layers = {layer: f"layer {number}" for number, layer in enumerate(record.calls, start=1)}
    spans, chosen = {}, {}
    for layer, (routing,) in record.calls.items():
        size = getattr(record.layers[layer].units, "size", 1)
        spans[layers[layer]] = size * network.patch_width
        chosen[layers[layer]] = routing.expert.view(routing.num_units, -1)[:, 0].numpy()
    mean, scale = data.scaler.mean[variate], data.scaler.scale[variate]
    channel = data.table.channels[variate]
    return plot_routing(
        path,
        one.past[0, :, variate].double().numpy() * scale + mean,
        chosen,
        spans,
        {layers[layer]: share for layer, share in load.items()},
        title=f"{data.table.name}, {channel}, look-back up to {when(data, now(one)[0])}",
        unit=channel,
    )


def now(batch: WindowBatch) -> list[int]:
    """Row of the table at which each forecast begins."""
    return [int(row) + batch.past.shape[1] for row in batch.index]


def when(data: LTSFDataModule, row: int) -> str:
    """The stamp of a row, or its number."""
    stamps = data.table.stamps
    return f"row {row}" if stamps is None else str(pd.Timestamp(stamps[row]))
