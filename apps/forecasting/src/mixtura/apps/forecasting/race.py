"""Are our algorithms faster than those of the reference implementations?"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mixtura.core.errors import InputError
from mixtura.forecasting.networks import TimeMoE
from mixtura.forecasting.reference_speed import (
    Racer,
    race_generation,
    race_training,
    training_profiles,
)
from mixtura.training.benchmark.table import environment


def race(
    rounds: int = 3,
    series: int = 8,
    context: int = 512,
    horizon: int = 96,
    jobs: str = "generation,training",
    lines: int = 12,
    threads: int = 0,
    small: bool = False,
    json_file: str | None = None,
) -> list[Racer]:
    """Time Time-MoE's generation and training steps beside the reference algorithms.

    These are written down once more for this: one expert after the other in a Python loop,
    attention with its whole matrix, a cache that grows by concatenation. All take turns in one
    process; what counts is the ratio of processor times.

    Args:
        rounds: Timed runs of each.
        series: Series that Time-MoE forecasts together.
        context: Points of each.
        horizon: Points forecast.
        jobs: `generation` (Time-MoE) and `training` (steps of Seg-MoE and MoHETS), or one of them.
        lines: Lines of the profiles of our training steps; 0 for none.
        threads: Threads of torch; 0 leaves torch's own choice.
        small: A small Time-MoE instead of the size of the released 50M model.
        json_file: Also write the figures here.
    """
    if threads:
        torch.set_num_threads(threads)
    chosen = {name.strip() for name in jobs.split(",")}
    if not chosen or chosen - {"generation", "training"}:
        raise InputError(f"jobs must be generation, training, or both with a comma, got {jobs!r}")
    racers = []
    if "generation" in chosen:
        torch.manual_seed(0)
        network = TimeMoE(dim=32, hidden_dim=64, num_layers=2, num_heads=4) if small else TimeMoE()
        racers += race_generation(network, series, context, horizon, rounds)
    if "training" in chosen:
        racers += race_training(rounds)
        for name, profile in training_profiles(lines).items() if lines else ():
            sys.stdout.write(f"{name}\n{profile}\n")
    title = f"processor time per series or window, threads: {torch.get_num_threads()}"
    table = Table(title=title, title_justify="left")
    table.add_column("job")
    table.add_column("side")
    for column in ("CPU ms", "ms", "of the reference"):
        table.add_column(column, justify="right")
    for one in racers:
        figures = (f"{1e3 * one.cpu:.1f}", f"{1e3 * one.wall:.1f}", f"{one.ratio:.2f}")
        table.add_row(one.job, one.name, *figures)
    Console().print(table)
    if json_file:
        command = f"mixtura-forecasting race --rounds {rounds} --series {series} --jobs {jobs}"
        found = {**environment(command), "racers": [asdict(one) for one in racers]}
        Path(json_file).write_text(json.dumps(found, indent=1) + "\n")
    return racers
