"""Experts that look up: a table of vectors each."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts

__all__ = ["EmbeddingExperts"]


@configurable
class EmbeddingExperts(Experts):
    """`T_e[id]`: a row holds ids (fields), and an expert has a vector for each.

    The ids of categorical features of users and items, of words, of tasks, as whole numbers in a
    row of any floating dtype that can hold them. The router looks at something else (`route_on`),
    or at the ids (`TableScore`). The vectors of a row's fields stand side by side.

    STEM and its kin keep several embedding tables for tasks that disagree (Su et al., AAAI 2024,
    arXiv 2308.13537).

    Args:
        num_experts: E.
        num_ids: ids run from 0 to num_ids - 1.
        out_dim: width of a vector.
        std: standard deviation of the initial vectors.
    """

    def __init__(self, num_experts: int, num_ids: int, out_dim: int, *, std: float = 0.02) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts, num_ids=num_ids, out_dim=out_dim)
        check_number("std", std, least=0)
        self.num_experts = num_experts
        self.num_ids = num_ids
        self.table = nn.Parameter(torch.empty(num_experts * num_ids, out_dim))
        nn.init.normal_(self.table, std=std)

    def one(
        self, expert: int, rows: Float[Tensor, "rows *rest fields"]
    ) -> Float[Tensor, "rows *rest out"]:
        """Vectors of one expert."""
        return self._look_up(self._ids(rows) + expert * self.num_ids)

    def all(
        self, x: Float[Tensor, "units *rest fields"]
    ) -> Float[Tensor, "units experts *rest out"]:
        """Vectors of every expert."""
        first = torch.arange(self.num_experts, device=x.device) * self.num_ids
        return self._look_up(self._ids(x)[:, None] + first.view(-1, *[1] * (x.ndim - 1)))

    def loop(self, rows: Tensor, counts) -> Tensor:
        """All experts in one look-up."""
        number = torch.arange(self.num_experts, device=rows.device)
        expert = number.repeat_interleave(torch.tensor(list(counts), device=rows.device))
        offset = (expert * self.num_ids).view(-1, *[1] * (rows.ndim - 1))
        return self._look_up(self._ids(rows) + offset)

    def _look_up(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table).flatten(-2)

    def _ids(self, rows: Tensor) -> Tensor:
        ids = rows.long()
        if ids.numel() and rows.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= self.num_ids:
                raise InputError(
                    f"ids must be between 0 and {self.num_ids - 1}, got {low} to {high}"
                )
        return ids
