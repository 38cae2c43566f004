"""The papers behind a model."""

import re

from torch import nn

__all__ = ["cite"]


def cite(model: nn.Module) -> dict[str, list[str]]:
    """The papers (arXiv numbers) whose methods a model uses, by component.

    They are read from the components' own documentation: a loss of a layer counts, a component
    without an arXiv number does not appear.

    Args:
        model: any module with parts from mixtura.
    """
    found: dict[str, list[str]] = {}
    for module in model.modules():
        for part in (module, *getattr(module, "losses", ())):
            kind = type(part)
            if not kind.__module__.startswith("mixtura."):
                continue
            text = " ".join((kind.__doc__ or "").split())
            numbers = re.findall(r"arXiv[ :]*(\d{4}\.\d{4,5})", text)
            if numbers:
                found[kind.__name__] = list(dict.fromkeys(numbers))
    return found
