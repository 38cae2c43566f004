"""What the windows, the spectrum and the errors say about the experts that worked on them."""

from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from mixtura.datasets.frequency import step_of
from mixtura.forecasting.inspection.windows import ExpertView

__all__ = ["bands", "by_clock", "by_horizon", "clock", "energy_by_expert"]

SHORTEST = 32
"""Points around a unit whose spectrum is looked at, if the unit itself has fewer."""

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = tuple("JFMAMJJASOND")


def clock(
    stamps: Shaped[np.ndarray, " rows"], frequency: str
) -> tuple[Int[np.ndarray, " rows"], str, list[str]]:
    """The place of each stamp in its cycle, the cycle's name, and the names of its places.

    Hour of day for steps below a day, weekday for days, month for longer steps.
    """
    index, step = pd.DatetimeIndex(stamps), step_of(frequency)
    if step in ("second", "minute", "hour"):
        return index.hour.to_numpy(), "hour of day", [str(hour) for hour in range(24)]
    if step == "day":
        return index.day_of_week.to_numpy(), "weekday", list(WEEKDAYS)
    return index.month.to_numpy() - 1, "month", list(MONTHS)


def by_clock(
    view: ExpertView, places: Int[np.ndarray, "series time"], count: int
) -> Float[np.ndarray, "experts places"]:
    """Share of each expert in the points at each place of the cycle, over its share in all points.

    1 where the expert works as much as ever; NaN for an idle one and for a place without points.
    """
    experts = view.of_points(places.shape[1]).numpy()
    table = np.zeros((view.num_experts, count))
    worked = experts >= 0
    np.add.at(table, (experts[worked], places[worked]), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / max(1, worked.sum())
    return np.divide(table, expected, out=np.full_like(table, np.nan), where=expected > 0)


def bands(length: int) -> list[tuple[int, int]]:
    """Octaves of periods in points, [2, 4), [4, 8), ..., and all periods that are longer."""
    edges = [2]
    while edges[-1] * 2 <= length:
        edges.append(edges[-1] * 2)
    return [*pairwise(edges), (edges[-1], 0)]


def energy_by_expert(
    view: ExpertView, windows: Float[Tensor, "series time"]
) -> tuple[Float[np.ndarray, "experts bands"], list[tuple[int, int]]]:
    """Share of each octave of periods in the energy of an expert's units, over that of all units.

    The spectrum is that of the unit's own points, or of the 32 points around it if it has fewer,
    each piece without its mean and under a Hann window. 1 where the expert's units are like all
    units; NaN for an idle expert.
    """
    length = windows.shape[1]
    width = min(max(view.span, SHORTEST), length)
    middle = torch.arange(view.chosen.shape[1]) * view.span + view.span // 2
    begin = (middle - width // 2).clamp(0, length - width)
    pieces = windows.unfold(1, width, 1)[:, begin]
    pieces = (pieces - pieces.mean(-1, keepdim=True)) * torch.hann_window(width)
    power = torch.fft.rfft(pieces).abs().square()[..., 1:]
    period = width / torch.arange(1, power.shape[-1] + 1)
    octaves = bands(width)
    inside = [(period >= low) & ((period < high) if high else True) for low, high in octaves]
    energy = torch.stack([power[..., each].sum(-1) for each in inside], -1)
    share = energy / energy.sum(-1, keepdim=True).clamp_min(1e-12)
    usual = share[view.chosen >= 0].mean(0).clamp_min(1e-12)
    table = torch.full((view.num_experts, len(octaves)), torch.nan)
    for expert in range(view.num_experts):
        own = share[view.chosen == expert]
        if len(own):
            table[expert] = own.mean(0) / usual
    return table.numpy(), octaves


def by_horizon(
    view: ExpertView, errors: Float[Tensor, "series horizon"]
) -> tuple[Float[np.ndarray, "experts horizon"], Int[np.ndarray, " experts"]]:
    """Mean absolute error of each step, by the expert of the newest unit, and how many windows."""
    newest = view.chosen[:, -1]
    means = torch.full((view.num_experts, errors.shape[1]), torch.nan)
    counts = torch.zeros(view.num_experts, dtype=torch.long)
    for expert in range(view.num_experts):
        own = errors[newest == expert].abs()
        counts[expert] = len(own)
        if len(own):
            means[expert] = own.mean(0)
    return means.numpy(), counts.numpy()
