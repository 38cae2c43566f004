"""MASE and weighted quantile loss of the models that a benchmark has trained."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mixtura.core import from_config
from mixtura.core.errors import InputError
from mixtura.datasets import LTSFDataModule
from mixtura.forecasting import Forecaster, LastValue, SeasonalNaive
from mixtura.forecasting.rolling_scores import rolling_scores
from mixtura.training import MoEModule
from mixtura.training.benchmark.table import cell, environment

COLUMNS = ("setting", "model", "seed", "mase", "wql", "windows", "look_back")


def score(
    benchmark: str = "benchmarks/ltsf",
    out: str | None = None,
    settings: str | None = None,
    naive: bool = True,
    max_windows: int = 1000,
) -> list[dict[str, Any]]:
    """Score every model that `mixtura-forecasting benchmark` trained, through gluonts.

    Windows roll over the test rows without overlapping. Quantiles are calibrated on the validation
    rows.

    Args:
        benchmark: Folder of the benchmark.
        out: Folder of `scores.json` and `scores.md`; the benchmark's if not given.
        settings: Only these, separated by commas.
        naive: Also score the seasonal naive and the last-value forecast in the same settings.
        max_windows: Validation windows for the calibration.
    """
    found = [path for path in sorted(Path(benchmark).glob("jobs/*/*/*/*.json")) if scored(path)]
    if not found:
        raise InputError(
            f"{benchmark} holds no results; run `mixtura-forecasting benchmark` with that --out"
        )
    chosen = None if settings is None else {name.strip() for name in settings.split(",")}
    rows, seen = [], {}
    for path in found:
        result = json.loads(path.read_text())
        trained = path.parent / "trained.json"
        if not trained.is_file() or (chosen is not None and result["setting"] not in chosen):
            continue
        checkpoint = Path(json.loads(trained.read_text())["checkpoint"])
        module: Any = MoEModule.load_from_checkpoint(checkpoint)
        data = from_config(result["config"]["data"])
        seen.setdefault(result["setting"], data)
        rows.append(
            row(result["model"], result["seed"], module.shared(data), data, result, max_windows)
        )
    for name, data in seen.items() if naive else ():
        for network in (SeasonalNaive(period=data.season), LastValue()):
            title = "seasonal naive" if isinstance(network, SeasonalNaive) else "last value"
            rows.append(row(title, 0, Forecaster(network), data, {"setting": name}, max_windows))
    rows.sort(key=lambda each: (each["setting"], each["mase"]))
    command = ["mixtura-forecasting", "score", "--benchmark", benchmark]
    command += ["--settings", settings] if settings else []
    write(rows, Path(out or benchmark), shlex.join(command))
    return rows


def scored(path: Path) -> bool:
    """Whether a file is the result of a job."""
    return path.stem not in ("started", "trained")


def row(
    model: str,
    seed: int,
    forecaster: Forecaster,
    data: LTSFDataModule,
    result: dict[str, Any],
    max_windows: int,
) -> dict[str, Any]:
    """One line of the table."""
    scores = rolling_scores(forecaster, data, data.horizon, max_windows)
    return {
        "setting": result["setting"],
        "model": model,
        "seed": seed,
        "mase": scores.mase,
        "wql": scores.wql,
        "windows": scores.windows,
        "season": scores.season,
        "look_back": data.look_back,
    }


def write(rows: Sequence[dict[str, Any]], folder: Path, command: str) -> None:
    """The table on the screen, as JSON and as Markdown."""
    about = environment(command)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scores.json").write_text(json.dumps({**about, "rows": list(rows)}, indent=1) + "\n")
    lines = [
        "# MASE and weighted quantile loss, through gluonts",
        "",
        "| " + " | ".join(column.replace("_", "-") for column in COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(cell(each[column]) for column in COLUMNS) + " |" for each in rows),
        "",
        f"Hardware: {about['hardware']}. Commit: {about['commit']}.",
        f"Command: `{about['command']}`",
    ]
    (folder / "scores.md").write_text("\n".join(lines) + "\n")
    table = Table(title="all test rows", title_justify="left")
    for column in COLUMNS:
        table.add_column(column.replace("_", "-"))
    for each in rows:
        table.add_row(*(cell(each[column]) for column in COLUMNS))
    Console().print(table)
    Console().print(f"Files in [bold]{folder}[/bold]: scores.json, scores.md", highlight=False)
