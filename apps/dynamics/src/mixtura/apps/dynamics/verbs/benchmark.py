"""Run a recipe: methods x seeds on one data set, restartable, with the table at the end."""

import json
import shlex
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from mixtura.apps.dynamics.configurations import CONFIGS, read
from mixtura.apps.dynamics.table import markdown, summarise, write_table
from mixtura.apps.dynamics.training_run import train
from mixtura.core.errors import InputError
from mixtura.training.whole_files import write_whole

__all__ = ["benchmark"]

KEYS = {"title", "methods", "seeds", "quoted", "notes", "without"}
NEEDED = ("title", "methods", "seeds")
QUICK_OUTER_STEPS, QUICK_ADAPTATION_STEPS = 4, 20


def benchmark(
    recipe: str,
    out: str = "runs/benchmarks",
    seeds: int = 0,
    methods: list[str] | None = None,
    outer_steps: int = 0,
    quick: bool = False,
) -> None:
    """Train and score every method of a recipe with every seed, and write the table.

    A run that is already in the folder is not repeated: call the command again to continue. The
    table holds every method with runs in the folder, whether it was asked for now or before.

    Args:
        recipe: Packaged name or path of a recipe.
        out: Folder of the results; each recipe gets one inside.
        seeds: Only so many seeds of the recipe; 0 for all.
        methods: Train only these methods; none with [], to write the table of what is there.
        outer_steps: Shorten each training to so many outer steps (the table says so); 0 for the
            recipe's own.
        quick: One seed, a few outer steps and short adaptation: minutes, and no figure to quote.
    """
    path = Path(recipe)
    content = read_recipe(path)
    if quick:
        outer_steps, seeds = outer_steps or QUICK_OUTER_STEPS, seeds or 1
    chosen = [m for m in content["methods"] if methods is None or m["name"] in methods]
    if not chosen and methods != []:
        known = ", ".join(m["name"] for m in content["methods"])
        raise InputError(f"no method of {path.name} is called {methods}; it has {known}")
    name = path.stem if not outer_steps else f"{path.stem}-{outer_steps}-outer-steps"
    folder = Path(out) / (f"{path.stem}-quick" if quick else name)
    console = Console()
    listed = content["seeds"][:seeds] if seeds else content["seeds"]
    summaries = {}
    for method in content["methods"]:
        runs = [run for run in stored(folder) if run["method"] == method["name"]]
        if method in chosen:
            runs = []
            for seed in method.get("seeds", listed)[: seeds or None]:
                tree = read(method["config"], dict(method.get("changes", {})))
                if outer_steps:
                    tree["model"]["init_args"]["recipe"]["init_args"]["outer_steps"] = outer_steps
                if quick:
                    adaptation = tree["model"]["init_args"].setdefault("adaptation", {})
                    adaptation.setdefault("class_path", "mixtura.dynamics.Adaptation")
                    adaptation.setdefault("init_args", {})["steps"] = QUICK_ADAPTATION_STEPS
                runs.append(result(folder, method["name"], tree, seed, console))
        if runs:
            summaries[method["name"]] = summarise(runs)
    title = content["title"] + (f", {outer_steps} outer steps only" if outer_steps else "")
    title += " (quick: not the published setting)" if quick else ""
    table = markdown(title, summaries, content.get("quoted", []), content.get("without", []))
    packaged = path.parent == CONFIGS.with_name("recipes")
    words = ["mixtura-dynamics", "benchmark", path.stem if packaged else str(path)]
    if quick:
        words.append("--quick")
    elif outer_steps:
        words += ["--outer_steps", str(outer_steps)]
    command = shlex.join(words)
    hardware = sorted({run["hardware"] for run in stored(folder)})
    commits = sorted({run["commit"] for run in stored(folder)} - {""})
    table += (
        "\nMedian (mean ± standard deviation) over the seeds; CPU s are those of training alone. "
        f"Command: `{command}`. Hardware: {'; '.join(hardware)}. Commits: {', '.join(commits)}.\n"
    )
    table += "".join(f"\n{note}\n" for note in content.get("notes", []))
    written = write_table(folder, table, {"title": title, "command": command, "methods": summaries})
    console.print(table, markup=False, highlight=False)
    for file in written:
        console.print(f"  {file}", highlight=False)


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe with the keys that it must have, and no others.

    Raises:
        InputError: when it is no such file.
    """
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, OmegaConfBaseException) as error:
        raise InputError(f"{path} is not a readable recipe: {error}") from error
    if not isinstance(content, dict) or not all(content.get(key) for key in NEEDED):
        raise InputError(
            f"{path.name} is no recipe; it must have {', '.join(NEEDED)} (`methods` a list of "
            "entries with `name` and `config`)"
        )
    unknown = sorted(set(map(str, content)) - KEYS)
    if unknown:
        raise InputError(f"{path.name} has the unknown keys {unknown}; a recipe has {sorted(KEYS)}")
    for method in content["methods"]:
        if not isinstance(method, dict) or not {"name", "config"} <= set(method):
            raise InputError(f"{path.name}: a method needs `name` and `config`, got {method}")
    return content


def result(folder: Path, method: str, tree: dict, seed: int, console: Console) -> dict[str, Any]:
    """A run's numbers, from the folder or from a new training."""
    slug = "".join(c if c.isalnum() else "-" for c in method.lower()).strip("-")
    path = folder / "runs" / f"{slug}-{seed}.json"
    if path.is_file():
        return json.loads(path.read_text())
    console.print(f"{method}, seed {seed}: training", highlight=False)
    run, _, _ = train(tree, seed)
    content = {"method": method, "config": tree, **run.as_dict()}
    write_whole(path, lambda file: file.write_text(json.dumps(content, indent=1) + "\n"))
    error = run.scores.get("in_domain", {}).get("mse")
    console.print(
        f"{method}, seed {seed}: MSE {error} in {run.train_cpu_seconds:.0f} CPU s", highlight=False
    )
    return content


def stored(folder: Path) -> list[dict[str, Any]]:
    """All runs of the folder."""
    return [json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*.json"))]
