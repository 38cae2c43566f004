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


def ablations(rows: list[dict[str, Any]]) -> list[str]:
    """One change at a time."""
    lines = ["| ETTh1-96 | MSE | MAE | parameters | active | seeds | minutes |", "|" + "---|" * 7]
    for row in rows:
        if row["seeds"]:
            cells = [row["model"], spread(row, "mse"), spread(row, "mae")]
            cells += [f"{row['parameters']:,}", f"{row['active_parameters']:,}"]
            cells += [row["seeds"], f"{row['minutes']:.1f}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def beside_paper(rows: list[dict[str, Any]]) -> list[str]:
    """One way of training, on several sets."""
    columns = "setting | MSE | MAE | paper MSE | paper MAE | windows | seeds | minutes"
    lines = [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1)]
    for row in rows:
        if row["seeds"]:
            cells = [row["setting"], spread(row, "mse"), spread(row, "mae")]
            cells += [number(row["mse paper"]), number(row["mae paper"])]
            cells += [row["samples"], row["seeds"], f"{row['minutes']:.1f}"]
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
    """Ours and the paper's, one panel for each data set; forecasts that learn nothing left out."""
    run = [row for row in rows if row["seeds"] and row["parameters"]]
    sets = list(dict.fromkeys(row["setting"].rpartition("-")[0] for row in run))
    models = list(dict.fromkeys(row["model"] for row in run))
    horizons = list(dict.fromkeys(row["setting"].rpartition("-")[2] for row in run))
    mosaic = [[sets[0], sets[0], *sets[1:4]], [sets[0], sets[0], *sets[4:7]]]
    figure = Figure(figsize=(11, 5), layout="constrained", dpi=110)
    for name, panel in figure.subplot_mosaic(mosaic).items():
        here = [model for model in models if _of(run, name, model)]
        for color, model in enumerate(models):
            mine = _of(run, name, model)
            if not mine:
                continue
            aside = 0.09 * (here.index(model) - (len(here) - 1) / 2)
            places = [horizons.index(row["setting"].rpartition("-")[2]) + aside for row in mine]
            errors = [row["mse sd"] or 0.0 for row in mine]
            style = {"fmt": "o", "ms": 4, "color": f"C{color}"}
            panel.errorbar(places, [row["mse"] for row in mine], errors, label=model, **style)
            known = [(p, r["mse paper"]) for p, r in zip(places, mine, strict=True)]
            known = [each for each in known if each[1] is not None]
            if known:
                panel.plot(*zip(*known, strict=True), "_", ms=12, mew=2, color=f"C{color}")
        panel.set_xticks(range(len(horizons)), horizons)
        panel.set_title(name, fontsize=9, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
        if name == sets[0]:
            panel.set_ylabel("MSE (dash: published)")
            panel.legend(frameon=False, fontsize=9)
    figure.savefig(path)


def _of(rows: list[dict[str, Any]], name: str, model: str) -> list[dict[str, Any]]:
    mine = [row for row in rows if row["setting"].rpartition("-")[0] == name]
    return [row for row in mine if row["model"] == model]


def read(benchmark: str) -> list[dict[str, Any]]:
    """The rows of a benchmark's table."""
    return json.loads((HERE / benchmark / "results.json").read_text())["rows"]


def main() -> None:
    """Replace what stands between the markers."""
    text = README.read_text()
    results = read("ltsf")
    racing = sorted((HERE / "speed").glob("*.json"))
    tables = {
        "ltsf": ltsf(results),
        "ablations": ablations(read("ablations")),
        "dlinear": beside_paper(read("dlinear")),
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
