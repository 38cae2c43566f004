"""Experts of different kinds, each with its own view of a unit."""

from collections.abc import Sequence
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.experts.modules import ModuleExperts

__all__ = ["View", "ViewExperts"]

View = Literal["sequence", "mean", "first", "last", "flatten"]


@configurable
class ViewExperts(ModuleExperts):
    """Experts that see a unit (positions, dim) as a sequence, or as one vector made of it.

    Hecto (arXiv 2506.22919) has a GRU that reads the sequence and a feed-forward network that sees
    a static vector; all give vectors of one width. The router sees a pooled unit.

    Args:
        modules: the experts; a bank of one expert is one too.
        views: what each of them sees.
    """

    def __init__(self, modules: Sequence[nn.Module], views: Sequence[View]) -> None:
        super().__init__(modules)
        unknown = set(views) - set(get_args(View))
        if unknown or len(views) != len(modules):
            raise InputError(
                f"`views` needs one of {', '.join(get_args(View))} for each of {len(modules)} "
                f"experts, got {list(views)}"
            )
        self.views = tuple(views)

    def one(
        self, expert: int, rows: Float[Tensor, "rows positions dim"]
    ) -> Float[Tensor, "rows out"]:
        """Output of one expert for its view of the units."""
        view, module = self.views[expert], self.members[expert]
        if view == "mean":
            rows = rows.mean(1)
        elif view == "first":
            rows = rows[:, 0]
        elif view == "last":
            rows = rows[:, -1]
        elif view == "flatten":
            rows = rows.flatten(1)
        return module.one(0, rows) if isinstance(module, Experts) else module(rows)
