"""Ours beside the reference implementations' algorithms, in turns in one process."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from mixtura.forecasting.networks import MoHETS, SegMoE, TimeMoE
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.reference_speed.generation import LoopTimeMoE
from mixtura.forecasting.reference_speed.loop_mixture import with_loops
from mixtura.forecasting.speed import profile_lines, training_step

__all__ = ["Racer", "race_generation", "race_training", "training_profiles"]


@dataclass(frozen=True)
class Racer:
    """What one side needed.

    Attributes:
        job: what was done.
        name: who did it.
        cpu: median seconds of processor time per series or window, all threads together.
        wall: median seconds per series or window.
        ratio: median over the rounds of processor time over the reference's in the same round.
        rounds: that were timed.
    """

    job: str
    name: str
    cpu: float
    wall: float
    ratio: float
    rounds: int


def race_generation(
    network: TimeMoE, series: int, context: int, horizon: int, rounds: int
) -> list[Racer]:
    """Forecasts of Time-MoE in float32 and bfloat16, and by the reference's algorithm in float32.

    Args:
        network: of any size.
        series: forecast together.
        context: points of each.
        horizon: points forecast.
        rounds: timed runs of each.
    """
    network = network.eval()
    half, loop = copy.deepcopy(network).bfloat16(), LoopTimeMoE(network).eval()
    x = torch.randn(series, context, generator=torch.Generator().manual_seed(0))
    short = x.bfloat16()
    runs = {
        "reference": lambda: loop.generate(x, horizon),
        "float32": lambda: network.generate(x, horizon),
        "bfloat16": lambda: half.generate(short, horizon),
    }
    return race(f"Time-MoE, {context} -> {horizon}, {series} series", runs, series, rounds)


def race_training(rounds: int, batch: int = 16) -> list[Racer]:
    """Training steps of Seg-MoE tiny and MoHETS tiny.

    Args:
        rounds: timed steps of each.
        batch: windows of seven variates.
    """
    racers = []
    for name, network in tiny_networks().items():
        past, future = training_windows(network, batch)
        sides = {"reference": with_loops(network), "float32": network}
        runs = {side: training_step(each, past, future) for side, each in sides.items()}
        racers += race(f"{name}, training step of {batch} windows", runs, batch, rounds)
    return racers


def training_profiles(lines: int, batch: int = 16) -> dict[str, str]:
    """The operations on which our training steps spend most.

    Args:
        lines: of each profile.
        batch: windows of seven variates.
    """
    return {
        name: profile_lines(network, *training_windows(network, batch), lines)
        for name, network in tiny_networks().items()
    }


def tiny_networks() -> dict[str, ForecastNetwork]:
    """The sizes of the published `tiny` models."""
    return {
        "Seg-MoE tiny": SegMoE(segment_sizes=[3, 5, 5, 5]),
        "MoHETS tiny": MoHETS(
            context_length=672,
            num_variates=7,
            patch_width=8,
            width_factor=3,
            dim=64,
            hidden_dim=128,
        ),
    }


def training_windows(network: ForecastNetwork, batch: int) -> tuple[Tensor, Tensor]:
    """Look-backs and what a training pair needs after them."""
    generator = torch.Generator().manual_seed(0)
    past = torch.randn(batch, 7, network.context_length, generator=generator)
    return past, torch.randn(batch, 7, network.target_length, generator=generator)


def race(
    job: str, runs: Mapping[str, Callable[[], Tensor | None]], count: int, rounds: int
) -> list[Racer]:
    """Everyone once to warm up, then in turns; the first one is what the others are measured by."""
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    wall: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            run()
            if number:
                cpu[name].append((time.process_time() - begin_cpu) / count)
                wall[name].append((time.perf_counter() - begin) / count)
    first = cpu[next(iter(runs))]
    return [
        Racer(
            job,
            name,
            median(cpu[name]),
            median(wall[name]),
            median(mine / theirs for mine, theirs in zip(cpu[name], first, strict=True)),
            rounds,
        )
        for name in runs
    ]
