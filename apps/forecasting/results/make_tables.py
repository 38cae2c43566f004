"""Write the README's tables and the picture from the committed results; run it after new ones."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HERE = Path(__file__).parent
README = HERE.parent / "README.md"


def number(value: float | None) -> str:
    """Four digits, or nothing."""
    return "" if value is None else f"{value:.4g}"


def spread(row: dict[str, Any], name: str) -> str:
    """Mean and, with several seeds, standard deviation."""
    sd = row[f"{name} sd"]
    return number(row[name]) + ("" if sd is None else f" ± {sd:.2g}")


def ltsf(rows: list[dict[str, Any]]) -> list[str]:
    """Every row that was run."""
    columns = (
        "setting | model | look-back | MSE | MAE | paper MSE | paper MAE | paper's look-back | "
        "windows | sentinels cleaned | seeds | minutes"
    )
    lines = [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1)]
    for row in rows:
        if row["seeds"]:
            cells = [
                row["setting"],
                row["model"],
                row["look-back"],
                spread(row, "mse"),
                spread(row, "mae"),
                number(row["mse paper"]),
                number(row["mae paper"]),
                row["look-back paper"] or "",
                row["samples"],
                "yes" if row["sentinels cleaned"] else "no",
                row["seeds"],
                f"{row['minutes']:.1f}",
            ]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def scores(rows: list[dict[str, Any]]) -> list[str]:
    """MASE and weighted quantile loss."""
    lines = ["| setting | model | look-back | seed | MASE | WQL | windows |", "|" + "---|" * 7]
    for row in rows:
        cells = [row["setting"], row["model"], row["look_back"], row["seed"]]
        cells += [number(row["mase"]), number(row["wql"]), row["windows"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def races(racers: list[dict[str, Any]]) -> list[str]:
    """Processor times beside the reference algorithms."""
    lines = ["| job | side | CPU ms | of the reference | rounds |", "|" + "---|" * 5]
    for one in racers:
        cells = [one["job"], one["name"], f"{1e3 * one['cpu']:.0f}", f"{one['ratio']:.2f}"]
        lines.append("| " + " | ".join([*cells, str(one["rounds"])]) + " |")
    return lines


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Ours and the paper's, one panel for each data set."""
    run = [row for row in rows if row["seeds"]]
    sets = list(dict.fromkeys(row["setting"].rpartition("-")[0] for row in run))
    models = list(dict.fromkeys(row["model"] for row in run))
    figure = Figure(figsize=(2.6 * len(sets), 2.8), layout="constrained", dpi=110)
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for panel, name in zip(panels, sets, strict=True):
        for color, model in enumerate(models):
            mine = [r for r in run if r["setting"].rpartition("-")[0] == name]
            mine = [row for row in mine if row["model"] == model]
            places = [row["setting"].rpartition("-")[2] for row in mine]
            errors = [row["mse sd"] or 0.0 for row in mine]
            style = {"fmt": "o-", "ms": 4, "color": f"C{color}"}
            panel.errorbar(places, [row["mse"] for row in mine], errors, label=model, **style)
            known = [(p, r["mse paper"]) for p, r in zip(places, mine, strict=True)]
            known = [each for each in known if each[1] is not None]
            if known:
                panel.plot(*zip(*known, strict=True), "_", ms=12, mew=2, color=f"C{color}")
        panel.set_title(name, fontsize=9, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
        panel.set_ylim(bottom=0)
    panels[0].set_ylabel("MSE (dash: published)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path)


def main() -> None:
    """Replace what stands between the markers."""
    text = README.read_text()
    results = json.loads((HERE / "ltsf/results.json").read_text())["rows"]
    racing = sorted((HERE / "speed").glob("*.json"))
    tables = {
        "ltsf": ltsf(results),
        "scores": scores(json.loads((HERE / "ltsf/scores.json").read_text())["rows"]),
        "race": races([one for each in racing for one in json.loads(each.read_text())["racers"]]),
    }
    for name, lines in tables.items():
        before, _, rest = text.partition(f"<!-- table: {name} -->\n")
        _, _, after = rest.partition("<!-- end of table -->")
        table = "\n".join(lines)
        text = f"{before}<!-- table: {name} -->\n{table}\n<!-- end of table -->{after}"
    README.write_text(text)
    draw(results, HERE / "ltsf/mse.png")


if __name__ == "__main__":
    main()
