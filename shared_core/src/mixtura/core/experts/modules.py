"""Experts of any kind: a list of modules."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.experts.idle import with_idle

__all__ = ["ModuleExperts"]


@configurable
class ModuleExperts(Experts):
    """Experts that need not be alike; each is a module from rows to rows of one common width.

    Grouping by expert is all that they share, so they are computed one after the other; Hecto
    (arXiv 2506.22919) has experts of different kinds.

    Args:
        modules: the experts.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        if not modules:
            raise InputError("a bank of experts needs at least one module, got none")
        self.members = nn.ModuleList(modules)
        self.num_experts = len(modules)

    def one(self, expert: int, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *out"]:
        """Output of one module."""
        return self.members[expert](rows)

    def loop(
        self, rows: Float[Tensor, "rows *rest"], counts: Sequence[int]
    ) -> Float[Tensor, "rows *out"]:
        """Outputs for rows sorted by expert; idle modules get gradients of zero."""
        outputs = super().loop(rows, counts)
        idle = [m for m, count in zip(self.members, counts, strict=True) if not count]
        return with_idle(outputs, [parameter for m in idle for parameter in m.parameters()])
