"""Groups of experts that work on different inputs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts

__all__ = ["ExpertGroups"]


@configurable
class ExpertGroups(Experts):
    """Banks of experts side by side, numbered through; bank g works on view `views[g]` of a unit.

    A unit has several views (units, views, dim): the shared and the task's own input of CGC and
    PLE (Tang et al., RecSys 2020), the inputs behind the feature gates of HoME (arXiv 2408.05430).
    One set of outputs `all(x)` then serves the gates of all tasks.

    Args:
        banks: the groups of experts.
        views: which view each bank works on; its own number when not given.
    """

    banks: Sequence[Experts]

    def __init__(self, banks: Sequence[Experts], *, views: Sequence[int] | None = None) -> None:
        super().__init__()
        if not banks:
            raise InputError("groups of experts need at least one bank, got none")
        views = range(len(banks)) if views is None else views
        if len(views) != len(banks) or min(views) < 0:
            raise InputError(
                f"`views` needs one view for each of {len(banks)} banks, got {list(views)}"
            )
        self.add_module("banks", nn.ModuleList(banks))
        self.views = tuple(views)
        self.num_experts = sum(bank.num_experts for bank in banks)

    def one(
        self, expert: int, rows: Float[Tensor, "rows views *rest"]
    ) -> Float[Tensor, "rows *out"]:
        """Output of one expert for its view of the rows."""
        for bank, view in zip(self.banks, self.views, strict=True):
            if expert < bank.num_experts:
                return bank.one(expert, rows[:, view])
            expert -= bank.num_experts
        raise InputError(f"the experts are 0 to {self.num_experts - 1}")

    def all(self, x: Float[Tensor, "units views *rest"]) -> Float[Tensor, "units experts *out"]:
        """Output of every expert for its view of every unit."""
        banks = zip(self.banks, self.views, strict=True)
        return torch.cat([bank.all(x[:, view]) for bank, view in banks], 1)
