"""Is the mixture as fast as a dense Transformer that does the same work?"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mixtura.apps.forecasting.configurations import load
from mixtura.forecasting.dense_twin import dense_twin
from mixtura.forecasting.speed import profile_lines, time_steps


def speed(
    config: str = "segmoe/demo",
    rounds: int = 20,
    threads: int = 0,
    lines: int = 12,
    json_file: str | None = None,
) -> float:
    """Time training steps of a Seg-MoE and of a dense Transformer with equal active FLOPs.

    Args:
        config: Configuration of the mixture, packaged or a path.
        rounds: Timed steps of each, in turns.
        threads: Threads of torch; 0 leaves torch's own choice.
        lines: Lines of the profile.
        json_file: Also write the figures here.

    Returns:
        Processor time of a step of the mixture over that of the dense Transformer.
    """
    if threads:
        torch.set_num_threads(threads)
    settings = load(config)
    network, data = settings["network"], settings["data"]
    batch = next(iter(data.train_dataloader()))
    past, future = batch.past.transpose(1, 2).contiguous(), batch.future.transpose(1, 2)
    networks = {"Seg-MoE": network, "dense, equal active FLOPs": dense_twin(network)}
    times = time_steps(networks, past, future.contiguous(), rounds)
    ratio = times[0].cpu / times[1].cpu
    title = f"a training step of {len(past)} windows, threads: {torch.get_num_threads()}"
    table = Table(title=title, title_justify="left")
    table.add_column("network")
    for column in ("parameters", "ms", "CPU ms", "ratio of CPU time"):
        table.add_column(column, justify="right")
    for one in times:
        table.add_row(
            one.name,
            f"{one.parameters:,}",
            f"{1e3 * one.wall:.0f}",
            f"{1e3 * one.cpu:.0f}",
            f"{one.cpu / times[1].cpu:.2f}",
        )
    Console().print(table)
    sys.stdout.write(profile_lines(network, past, future, lines) + "\n")
    if json_file:
        content = {"config": config, "ratio": ratio, "steps": [asdict(one) for one in times]}
        Path(json_file).write_text(json.dumps(content, indent=1) + "\n")
    return ratio
