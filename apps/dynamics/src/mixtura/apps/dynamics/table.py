"""The table of a benchmark: ours beside the reference and the paper."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mixtura.training.whole_files import write_whole

__all__ = ["COLUMNS", "markdown", "summarise", "write_table"]

COLUMNS = {
    "InD MSE": ("in_domain", "mse"),
    "leak-free InD MSE": ("in_domain_leak_free_mse",),
    "InD rel. L2": ("in_domain", "rel_l2"),
    "InD MAPE %": ("in_domain", "mape"),
    "one step ahead MSE": ("one_step_ahead_mse",),
    "OoD MSE": ("out_of_domain", "mse"),
    "purity": ("families", "purity"),
    "ARI": ("families", "ari"),
}


def pick(scores: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """A number inside nested mappings, if it is there."""
    value: Any = scores
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return float(value)


def summarise(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation, median and all values of each column over the seeds."""
    summary: dict[str, Any] = {"seeds": [run["seed"] for run in runs]}
    for name, path in COLUMNS.items():
        values = [v for run in runs if (v := pick(run["scores"], path)) is not None]
        if values:
            summary[name] = {
                "mean": statistics.fmean(values),
                "sd": statistics.stdev(values) if len(values) > 1 else 0.0,
                "median": statistics.median(values),
                "values": values,
            }
    summary["train CPU s"] = statistics.fmean(run["train_cpu_seconds"] for run in runs)
    summary["gradient steps"] = runs[0]["gradient_steps"]
    summary["scalars"] = runs[0]["parameters"]
    return summary


def number(value: float) -> str:
    """Three digits, without a needless exponent."""
    return f"{value:.3g}" if 1e-2 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def cell(column: str, summary: Mapping[str, Any]) -> str:
    """Median, and mean and spread, of a column over the seeds; or nothing."""
    if column not in summary:
        return ""
    entry = summary[column]
    if len(entry["values"]) == 1:
        return number(entry["mean"])
    return f"{number(entry['median'])} ({number(entry['mean'])} ± {number(entry['sd'])})"


def markdown(
    title: str,
    methods: Mapping[str, Mapping[str, Any]],
    quoted: Sequence[Mapping[str, Any]],
    without: Sequence[str] = (),
) -> str:
    """The table as text.

    Args:
        title: headline.
        methods: summary of each method that was run.
        quoted: rows of others: `name`, `source`, and numbers by column.
        without: columns to leave out.
    """
    rows = [*methods.values(), *quoted]
    columns = [c for c in COLUMNS if c not in without and any(c in row for row in rows)]
    lines = [f"## {title}", ""]
    head = ["", *columns, "gradient steps", "scalars", "CPU s", "seeds"]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, summary in methods.items():
        row = [f"**{name}** (ours)", *(cell(c, summary) for c in columns)]
        row += [str(summary["gradient steps"]), str(summary["scalars"])]
        row += [f"{summary['train CPU s']:.0f}", ", ".join(map(str, summary["seeds"]))]
        lines.append("| " + " | ".join(row) + " |")
    for quote in quoted:
        row = [f"{quote['name']} ({quote['source']})"]
        row += [number(float(quote[c])) if c in quote else "" for c in columns]
        row += [str(quote.get(key, "")) for key in ("gradient steps", "scalars", "CPU s", "seeds")]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def write_table(folder: Path, table: str, content: Mapping[str, Any]) -> list[Path]:
    """Write table.md and table.json, each whole or not at all."""
    text = json.dumps(content, indent=1) + "\n"
    written = []
    for name, value in (("table.md", table), ("table.json", text)):
        write_whole(folder / name, lambda path, value=value: path.write_text(value))
        written.append(folder / name)
    return written
