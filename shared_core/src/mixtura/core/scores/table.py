"""A row of logits for each id."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score
from mixtura.core.scores.ids import flat_ids

__all__ = ["TableScore"]


@configurable
class TableScore(Score):
    """`z = T[id]`: every task, environment or other id learns its own logits.

    The input has no say: all units of an id get the same experts. The layer is called with `ids`.
    An id that was never seen in training has the random logits it was born with.

    Task-level gates: Kudugunta et al., Beyond Distillation, 2021 (arXiv 2110.03742).

    Args:
        num_ids: ids run from 0 to num_ids - 1.
        num_experts: number of logits.
        std: standard deviation of the initial logits; at zero all ids would choose alike.
    """

    context = frozenset({"ids"})
    expert_axes: ClassVar[dict[str, int]] = {"table": 1}

    def __init__(self, num_ids: int, num_experts: int, *, std: float = 0.02) -> None:
        super().__init__()
        check_sizes(num_ids=num_ids, num_experts=num_experts)
        check_number("std", std, least=0)
        self.num_ids = num_ids
        self.num_experts = num_experts
        self.table = nn.Parameter(torch.empty(num_ids, num_experts))
        nn.init.normal_(self.table, std=std)

    def forward(
        self, x: Float[Tensor, "units dim"], *, ids: Int[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Logits of each unit."""
        rows = self.table.index_select(0, flat_ids(ids, len(x), self.num_ids))
        precise = torch.promote_types(torch.promote_types(x.dtype, rows.dtype), torch.float32)
        return rows.to(precise), {}
