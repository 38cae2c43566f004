"""The demo: one small Seg-MoE and what it is worth, from the data to a model that can be shared."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from mixtura.apps.forecasting.configurations import load
from mixtura.core.errors import InputError
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting import LastValue, SeasonalNaive
from mixtura.forecasting.comparison import Result, result_table, write_results
from mixtura.forecasting.showcase import (
    Job,
    Stages,
    check_sharing,
    draw_forecasts,
    draw_routing,
    expert_loads,
    run_job,
)


def demo(
    out: str = "runs/demo",
    config: str = "segmoe/demo",
    baseline: str = "dlinear/demo",
    max_steps: int = -1,
    threads: int = 1,
) -> list[Result]:
    """Train Seg-MoE and DLinear on ETTh1, score every test window, and share the trained model.

    Args:
        out: Folder of the table, the pictures and the shared model.
        config: Configuration of the mixture, packaged or a path.
        baseline: Configuration of the model beside it.
        max_steps: Stop each training after so many steps; -1 for the configured epochs.
        threads: Threads of torch. For models this small a second one wins little, and on a busy
            machine it costs several times the time.
    """
    if threads < 1:
        raise InputError(f"training needs at least one thread, got --threads {threads}")
    torch.set_num_threads(threads)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    ours, other = load(config), load(baseline)
    data = ours["data"]
    lengths = [(one["data"].look_back, one["data"].horizon) for one in (ours, other)]
    if lengths[0] != lengths[1]:
        raise InputError(
            f"both models need the same look-back and horizon, got {lengths[0]} in {config} and "
            f"{lengths[1]} in {baseline}; make them equal"
        )
    jobs = [
        Job("Seg-MoE", ours, max_steps),
        Job("DLinear", other, max_steps),
        Job("seasonal naive", naive(SeasonalNaive(period=data.season), data)),
        Job("last value", naive(LastValue(), data)),
    ]
    with Stages(sum(job.work for job in jobs)) as stages:
        results = [run_job(job, folder, stages) for job in jobs]
        stages.say("drawing and sharing")
        networks = {job.name: job.network for job in jobs}
        network = ours["network"]
        pictures = [
            draw_forecasts(folder / "forecast.png", data, networks, ("Seg-MoE", "DLinear")),
            draw_routing(folder / "routing.png", data, network),
        ]
        card = ours["module"].card(data)
        card.figures = [asdict(result) for result in results]
        card.experts = expert_loads(data, network)
        forecaster = ours["module"].shared(data)
        shared = forecaster.save_pretrained(folder / "model", card)
        check_sharing(forecaster, shared, data, data.horizon)
    written = write_results(folder / "results.json", results)
    show(results, data, [written, *pictures, shared])
    return results


def naive(network: torch.nn.Module, data: LTSFDataModule) -> dict[str, Any]:
    """What a job needs to know of a forecast without training."""
    return {"network": network, "data": data}


def show(results: list[Result], data: LTSFDataModule, files: list[Path]) -> None:
    """The table, and where everything is."""
    console = Console()
    title = (
        f"{data.table.name}, look-back {data.look_back}, horizon {data.horizon}, "
        f"all {results[0].windows} test windows"
    )
    console.print(result_table(results, title))
    for path in files:
        console.print(f"  {path}", highlight=False)
    console.print("The shared model was loaded again and gives the same forecast.")
