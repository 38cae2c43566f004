"""The model card: what the model is, what it scored, what its experts do, how to load it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from mixtura.core import LayerStatistics

__all__ = ["Card", "references"]

NAMED = re.compile(r"References?: (.*)")
PAPER = re.compile(r"[A-Z][^()]*(?: et al\.| and | & )[^()]*\(arXiv[: ]\d{4}\.\d{4,5}[^)]*\)")
PICTURE = "experts.png"


@dataclass(kw_only=True)
class Card:
    """What a card says; what is not known is left out.

    Attributes:
        task: Pipeline tag of the hub, such as `time-series-forecasting`.
        data: Name of the training data.
        licence: Licence of the data.
        description: A sentence or two.
        figures: Measured figures by name, or rows of a table, each by column.
        experts: Routing statistics by layer, measured on the data.
        load: Lines of Python that load and use the model.
        citation: Who is to be cited; the papers of the model's classes are added.
    """

    task: str | None = None
    data: str | None = None
    licence: str | None = None
    description: str = ""
    figures: Mapping[str, float] | Sequence[Mapping[str, object]] = ()
    experts: Mapping[str, LayerStatistics] = field(default_factory=dict)
    load: str = ""
    citation: Sequence[str] = ()

    def text(self, model: nn.Module, name: str = "THIS_FOLDER") -> str:
        """The card in Markdown, with the hub's header.

        Args:
            model: What is shared.
            name: Folder or repository, for the lines that load it.
        """
        return "\n".join([*self._header(), *self._body(model, name)]) + "\n"

    def pictures(self) -> dict[str, bytes]:
        """The PNG files that the text shows, by name."""
        if not self.experts:
            return {}
        from mixtura.training.inspection.pictures import load, png

        return {PICTURE: png(load(self.experts))}

    def _header(self) -> list[str]:
        lines = ["---", "library_name: mixtura", "tags: [mixture-of-experts]"]
        if self.task:
            lines.append(f"pipeline_tag: {self.task}")
        if self.data:
            lines.append(f"datasets: [{self.data}]")
        return [*lines, "---", ""]

    def _body(self, model: nn.Module, name: str) -> list[str]:
        cls = type(model)
        count = sum(parameter.numel() for parameter in model.parameters())
        lines = [f"# {cls.__name__}" + (f" for {self.data}" if self.data else ""), ""]
        lines += [_first(cls.__doc__), "", f"{count:,} parameters.", ""]
        if self.description:
            lines += [self.description, ""]
        module = cls.__module__
        load = self.load or (
            f"from {module} import {cls.__name__}\n\n"
            f'model = {cls.__name__}.from_pretrained("{name}")'
            if hasattr(cls, "from_pretrained")
            else f"from mixtura.training import load_pretrained\n\n"
            f'model = load_pretrained("{name}")'
        )
        lines += ["## Load it", "", "```python", load.replace("THIS_FOLDER", name), "```", ""]
        if self.data or self.licence:
            lines += ["## Data", "", f"- Data: {self.data or 'not named'}"]
            lines += [f"- Licence of the data: {self.licence or 'not stated'}", ""]
        lines += self._measured()
        lines += self._experts()
        papers = [*self.citation, *references(model)]
        if papers:
            lines += ["## Cite", "", *(f"- {paper}" for paper in dict.fromkeys(papers)), ""]
        return lines

    def _measured(self) -> list[str]:
        if not self.figures:
            return ["## Measured", "", "Nothing was measured when this model was exported.", ""]
        rows = (
            [{"figure": key, "value": value} for key, value in self.figures.items()]
            if isinstance(self.figures, Mapping)
            else list(self.figures)
        )
        return ["## Measured", "", *_table(rows), ""]

    def _experts(self) -> list[str]:
        rows = [
            {
                "layer": layer,
                "experts": len(one.counts),
                "load": " ".join(f"{share:.0%}" for share in one.load.tolist()[:16]),
                "active": float(one.mean_active),
                "MaxVio": float(one.max_violation),
                "without work": int(one.dead),
            }
            for layer, one in self.experts.items()
        ]
        if not rows:
            return []
        picture = f"![Share of the assignments of each expert, by layer]({PICTURE})"
        return ["## What the experts do", "", *_table(rows), "", picture, ""]


def _first(text: str | None) -> str:
    return (text or "").strip().split("\n\n")[0].replace("\n", " ").strip()


def _table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    columns = list(dict.fromkeys(column for row in rows for column in row))

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.4g}"
        return "" if value is None else str(value)

    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(cell(row.get(c)) for c in columns) + " |" for row in rows]


def references(model: nn.Module) -> list[str]:
    """The papers that the parts of a model name in their docstrings, losses included, each once.

    They stand in a paragraph of their own, behind "Reference:" or as "Author et al., title (arXiv
    number)".
    """
    found: dict[str, None] = {}
    for module in model.modules():
        for part in (module, *getattr(module, "losses", ())):
            if not type(part).__module__.startswith("torch."):
                found |= dict.fromkeys(_papers(type(part).__doc__ or ""))
    return list(found)


def _papers(text: str) -> list[str]:
    papers = []
    for paragraph in (" ".join(each.split()) for each in text.split("\n\n")):
        if named := NAMED.match(paragraph):
            papers += named[1].split("; ")
        elif paper := PAPER.match(paragraph):
            papers.append(paper[0])
    return [paper.strip(" .") for paper in papers]
