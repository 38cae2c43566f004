"""One HTML page that holds everything: pictures, tables, no file and no network beside it."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path

import torch
from matplotlib.figure import Figure

from mixtura.training.inspection.observation import Observation
from mixtura.training.inspection.pictures import png
from mixtura.training.whole_files import write_whole

__all__ = ["agreement", "write_page"]

TITLES = {
    "load": ("Load", "Share of the assignments that each expert got. The dotted line is balance."),
    "entropy": (
        "Entropy",
        "Blue: how evenly the work is spread over the experts. Orange: how undecided the router is "
        "about a single unit. Work spread evenly by a router that is sure of itself means experts "
        "that differ.",
    ),
    "together": (
        "Experts that work together",
        "Share of the units of the expert in the row on which the one in the column worked too.",
    ),
    "examples": (
        "Single samples",
        "The expert with the largest weight at each unit, layer by layer.",
    ),
    "comparison": ("Two checkpoints", "The load of each expert in both."),
}

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; }
body { max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p { max-width: 46rem; } img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; } .warn { color: #b00; }
"""


def write_page(
    folder: Path,
    seen: Observation,
    pictures: Mapping[str, Figure],
    other: Observation | None,
    further: Mapping[str, Path] | None = None,
) -> Path:
    """Write `index.html` with everything in it, and each picture as a PNG beside it.

    Args:
        folder: Of the page.
        seen: What was observed.
        pictures: Of it, by name.
        other: The checkpoint that it is compared with.
        further: Files of further pictures, by title.
    """
    sections = []
    for name, figure in pictures.items():
        content = png(figure)
        write_whole(
            folder / f"{name}.png", lambda path, c=content: path.write_bytes(c), beside=False
        )
        title, text = TITLES.get(name, _aspect(name))
        sections.append(_section(name, title, text, content))
        if name == "comparison" and other is not None:
            sections.append(_agreement_table(seen, other))
    for title, path in (further or {}).items():
        sections.append(_section(path.stem, title, "", path.read_bytes()))
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What the experts do: '
        f"{html.escape(seen.name)}</title><style>{STYLE}</style></head><body>"
        f"<h1>What the experts do</h1><p>{html.escape(seen.name)}, on {seen.samples:,} samples.</p>"
        f"{_layer_table(seen)}{''.join(sections)}</body></html>\n"
    )
    page = folder / "index.html"
    write_whole(page, lambda path: path.write_text(text, encoding="utf-8"), beside=False)
    return page


def _section(name: str, title: str, text: str, content: bytes) -> str:
    told = f"<p>{html.escape(text)}</p>" if text else ""
    encoded = base64.b64encode(content).decode()
    return (
        f"<h2>{html.escape(title)}</h2>{told}"
        f'<img id="{html.escape(name)}" alt="{html.escape(title)}" '
        f'src="data:image/png;base64,{encoded}">'
    )


def _aspect(name: str) -> tuple[str, str]:
    aspect = name.removeprefix("by-")
    return f"By {aspect}", f"Share of each expert in the units of each {aspect}."


def _layer_table(seen: Observation) -> str:
    head = ("layer", "experts", "units", "active", "largest load", "MaxVio", "cv", "without work")
    rows = []
    for name, layer in seen.layers.items():
        one = layer.statistics
        dead = int(one.dead)
        values = (
            html.escape(name),
            str(layer.num_experts),
            f"{int(one.num_units):,}",
            f"{float(one.mean_active):.2f}",
            f"{float(one.load.max()):.1%}",
            f"{float(one.max_violation):.2f}",
            f"{float(one.coefficient_of_variation):.2f}",
            f'<span class="warn">{dead}</span>' if dead else "0",
        )
        rows.append("<tr>" + "".join(f"<td>{value}</td>" for value in values) + "</tr>")
    header = "".join(f"<th>{each}</th>" for each in head)
    return f'<table id="layers"><tr>{header}</tr>{"".join(rows)}</table>'


def agreement(seen: Observation, other: Observation) -> dict[str, float]:
    """Share of the units that both checkpoints send to the same expert first, by layer.

    Experts have no order, so the experts of the second are renamed to agree best (an assignment
    problem over the counts of pairs).
    """
    from scipy.optimize import linear_sum_assignment

    found = {}
    for name, layer in seen.layers.items():
        if name not in other.layers:
            continue
        a, b = torch.cat(layer.first), torch.cat(other.layers[name].first)
        if a.shape != b.shape:
            continue
        both = (a >= 0) & (b >= 0)
        size = max(layer.num_experts, other.layers[name].num_experts)
        pairs = torch.bincount(a[both] * size + b[both], minlength=size * size).view(size, size)
        row, column = linear_sum_assignment(pairs.numpy(), maximize=True)
        found[name] = float(pairs[row, column].sum()) / max(1, int(both.sum()))
    return found


def _agreement_table(seen: Observation, other: Observation) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{share:.1%}</td></tr>"
        for name, share in agreement(seen, other).items()
    )
    return (
        "<p>Share of the units that both send to the same expert first, the experts of the second "
        "renamed to agree best.</p>"
        f'<table id="agreement"><tr><th>layer</th><th>same expert</th></tr>{rows}</table>'
    )
