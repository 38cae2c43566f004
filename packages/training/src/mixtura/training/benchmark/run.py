"""The verb `benchmark`."""

import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mixtura.core.errors import InputError
from mixtura.training.benchmark.jobs import Job, finished
from mixtura.training.benchmark.recipe import Entry, Recipe, Setting, read_recipe
from mixtura.training.benchmark.table import cell, environment, write_table
from mixtura.training.cli.app import App
from mixtura.training.cli.lightning import quiet, register
from mixtura.training.cli.names import nearest

__all__ = ["run_recipe"]

Named = TypeVar("Named", Entry, Setting)


def run_recipe(
    recipe: str,
    models: str | None = None,
    settings: str | None = None,
    horizons: str | None = None,
    seeds: int | None = None,
    out: str | None = None,
    quick: bool = False,
    first_seed: int = 0,
    *,
    app: App,
) -> list[dict[str, Any]]:
    """Run a recipe and write its table as JSON, Markdown and a picture.

    What was run before is not run again: a benchmark that was killed goes on where it stopped. The
    table shows everything that was run in its folder, by this command or by an earlier one.

    Args:
        recipe: Packaged recipe or path of a YAML file.
        models: Only these models of the recipe, separated by commas; the others stay blank.
        settings: Only these settings, separated by commas; `96` also means a name that ends in -96.
        horizons: The same as settings, under the name that forecasting uses.
        seeds: How many seeds; the recipe says by default.
        out: Folder of the results; `benchmarks/RECIPE` by default.
        quick: Run with the recipe's options for minutes; the table says so.
        first_seed: The first seed.
        app: The app.
    """
    read = read_recipe(Path(recipe))
    name = Path(recipe).stem + ("-quick" if quick else "")
    folder = Path(out) if out else Path("benchmarks") / name
    chosen = _chosen(read.models, models, "model")
    columns = _chosen(read.settings, settings or horizons, "setting")
    count = read.seeds if seeds is None else seeds
    if count < 1:
        raise InputError(f"seeds must be at least 1, got {count}")
    if quick and not read.quick:
        raise InputError(f"the recipe {recipe} has no 'quick' options; run it without --quick")
    quiet()
    for logger in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(f"{logger}.utilities.rank_zero").setLevel(logging.ERROR)
        logging.getLogger(f"{logger}.utilities.seed").setLevel(logging.ERROR)
    register(app)
    options = read.quick if quick else {}
    jobs = [
        (Job(app, entry, seed, options, folder), setting)
        for entry in chosen
        for setting in columns
        for seed in range(first_seed, first_seed + (count if entry.trained else 1))
    ]
    command = _command(app, recipe, models, settings or horizons, seeds, quick)
    about = environment(command)
    bars = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*bars, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(jobs))
        for job, setting in jobs:
            progress.update(task, description=f"{job.entry.name} {setting.name}, seed {job.seed}")
            first = next(each for each in read.settings if each.group == setting.group)
            job.run(setting, first, about)
            results = finished(app, read.models, read.settings, options, folder)
            write_table(folder, read, results, about, quick)
            progress.advance(task)
    results = finished(app, read.models, read.settings, options, folder)
    table = write_table(folder, read, results, about, quick)
    _show(read, table, folder)
    return table


def _chosen(items: Sequence[Named], names: str | None, what: str) -> list[Named]:
    if names is None:
        return list(items)
    found = []
    for name in (part.strip() for part in names.split(",")):
        fold = name.lower().replace("-", "")
        match = [i for i in items if i.name.lower().replace("-", "") == fold]
        match = match or [i for i in items if i.name.endswith(f"-{name}")]
        if not match:
            known = [item.name for item in items]
            near = nearest(name, known) or known
            raise InputError(f"the recipe has no {what} {name!r}; did you mean {', '.join(near)}?")
        found += match
    return found


def _command(
    app: App,
    recipe: str,
    models: str | None,
    settings: str | None,
    seeds: int | None,
    quick: bool,
) -> str:
    recipes = app.folder("recipes")
    path = Path(recipe)
    known = path.is_relative_to(recipes)
    name = path.relative_to(recipes).with_suffix("").as_posix() if known else path.name
    parts = [app.program, "benchmark", name]
    for flag, value in (("--models", models), ("--settings", settings), ("--seeds", seeds)):
        parts += [flag, str(value)] if value is not None else []
    return shlex.join([*parts, *(["--quick"] if quick else [])])


def _show(recipe: Recipe, table: Sequence[dict[str, Any]], folder: Path) -> None:
    console = Console()
    shown = Table(title=recipe.title, title_justify="left")
    kept = ["seeds", "active_parameters", "minutes"]
    figures = [each for name in recipe.figures for each in (name, f"{name} paper")]
    for column in ("setting", "model", *figures, *kept):
        shown.add_column(column.replace("_", " ").replace("active parameters", "active"))
    for row in table:
        if row["seeds"] is None:
            continue
        measured = []
        for name in recipe.figures:
            spread = row[f"{name} sd"]
            plus = f" ± {cell(spread)}" if spread is not None else ""
            measured += [f"{cell(row[name])}{plus}", cell(row[f"{name} paper"])]
        shown.add_row(row["setting"], row["model"], *measured, *(cell(row[each]) for each in kept))
    console.print(shown)
    blank = sum(row["seeds"] is None for row in table)
    if blank:
        console.print(f"{blank} rows were not run; they are blank in the files.", highlight=False)
    console.print(
        f"Files in [bold]{folder}[/bold]: results.md, results.json, results.png", highlight=False
    )
