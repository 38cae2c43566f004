"""The table of a benchmark as JSON, Markdown and a picture; what was not run stays blank."""

import json
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mixtura.training.benchmark.recipe import Recipe
from mixtura.training.whole_files import write_whole

__all__ = ["environment", "rows", "write_table"]

PACKAGES = ("mixtura-core", "torch", "pytorch-lightning", "numpy")


def environment(command: str) -> dict[str, Any]:
    """Hardware, versions, commit and command of this run."""
    return {
        "command": command,
        "hardware": _hardware(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _hardware() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {torch.get_num_threads()} threads"


def _commit() -> str:
    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit} with changes" if commit and git("status", "--porcelain") else commit
    except OSError:
        return ""


def rows(recipe: Recipe, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each model and setting; figures that were not measured are None."""
    table = []
    for setting in recipe.settings:
        for entry in recipe.models:
            runs = [r for r in results if (r["model"], r["setting"]) == (entry.name, setting.name)]
            row: dict[str, Any] = {"setting": setting.name, "model": entry.name}
            for name in recipe.figures:
                values = [run["figures"][name] for run in runs if name in run["figures"]]
                row[f"{name}"] = statistics.mean(values) if values else None
                row[f"{name} sd"] = statistics.stdev(values) if len(values) > 1 else None
                row[f"{name} paper"] = entry.paper.get(setting.name, {}).get(name)
            row["seeds"] = len(runs) or None
            for title, key in recipe.columns.items():
                row[title] = _dotted(runs[0]["config"], key) if runs else None
                if any(title in each.paper_with for each in recipe.models):
                    published = entry.paper_with.get(title) if setting.name in entry.paper else None
                    row[f"{title} paper"] = published
            row["samples"] = runs[0].get("samples") if runs else None
            for key in ("parameters", "active_parameters", "flops"):
                row[key] = runs[0][key] if runs else None
            row["minutes"] = sum(run["minutes"] for run in runs) if runs else None
            table.append(row)
    return table


def _dotted(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return None
        tree = tree[part]
    return tree


def write_table(
    folder: Path,
    recipe: Recipe,
    results: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    quick: bool,
) -> list[dict[str, Any]]:
    """Write `results.json`, `results.md` and `results.png`; give the rows."""
    table = rows(recipe, results)
    title = f"{recipe.title} (quick: not the published setting)" if quick else recipe.title
    content = {"title": title, "quick": quick, **about, "rows": table, "runs": list(results)}
    text = json.dumps(content, indent=1)
    markdown = _markdown(title, table, about, results)
    write_whole(folder / "results.json", lambda path: path.write_text(text), beside=False)
    write_whole(folder / "results.md", lambda path: path.write_text(markdown), beside=False)
    if any(row[recipe.figures[0]] is not None for row in table):
        write_whole(
            folder / "results.png", lambda path: _draw(path, title, recipe, table), beside=False
        )
    return table


def _markdown(
    title: str,
    table: Sequence[Mapping[str, Any]],
    about: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
) -> str:
    columns = list(table[0])

    def told(key: str) -> list[str]:
        return list(dict.fromkeys(str(each[key]) for each in [*results, about] if each.get(key)))

    lines = [
        f"# {title}",
        "",
        "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(cell(row[column]) for column in columns) + " |" for row in table),
        "",
        f"Hardware: {'; '.join(told('hardware'))}. Python {about['python']}, "
        + ", ".join(f"{name} {number}" for name, number in about["versions"].items() if number)
        + ".",
        *([f"Commit: {', '.join(told('commit'))}."] if told("commit") else []),
        *(f"Command: `{command}`" for command in told("command")),
    ]
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """A value as text; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _draw(path: Path, title: str, recipe: Recipe, table: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.figure import Figure

    figure_name = recipe.figures[0]
    run = [row for row in table if row[figure_name] is not None]
    models = [each.name for each in recipe.models if any(r["model"] == each.name for r in run)]
    settings = [s.name for s in recipe.settings if any(r["setting"] == s.name for r in run)]
    many = len(settings) > 8
    wide = 2 + 3 * min(1, len(settings) / 4) + 0.11 * len(models) * len(settings)
    figure = Figure(figsize=(min(wide, 16) + 2, 3.6), layout="constrained", dpi=120)
    axes = figure.subplots()
    width = 0.8 / len(models)
    for number, model in enumerate(models):
        mine = [row for row in run if row["model"] == model]
        places = [settings.index(row["setting"]) + (number + 0.5) * width - 0.4 for row in mine]
        errors = [row[f"{figure_name} sd"] or 0.0 for row in mine]
        heights = [row[figure_name] for row in mine]
        axes.errorbar(places, heights, errors, fmt="o", ms=4, capsize=2, label=model)
        for place, row in zip(places, mine, strict=True):
            if row[f"{figure_name} paper"] is not None:
                ends = [place - width / 2, place + width / 2]
                axes.plot(ends, [row[f"{figure_name} paper"]] * 2, color="black", lw=1.5)
    if any(row[f"{figure_name} paper"] is not None for row in run):
        axes.plot([], [], color="black", lw=1.5, label="paper")
    slant = {"rotation": 40, "ha": "right"} if many else {}
    axes.set_xticks(range(len(settings)), settings, fontsize=8, **slant)
    axes.set_xlim(-0.5, len(settings) - 0.5)
    axes.set_ylabel(figure_name)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, format="png")
