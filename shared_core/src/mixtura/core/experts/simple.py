"""Experts that cost nothing: zero, copy and constant."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing

__all__ = ["SimpleExpert", "WithSimpleExperts"]

SimpleExpert = Literal["zero", "copy", "constant"]


@configurable
class WithSimpleExperts(Experts):
    """A bank of experts, and behind it experts that need no computation.

    `zero` gives zeros, `copy` the row itself, `constant` a learned vector mixed with the row:
    `a_1 x + a_2 v`, `a = softmax(W x)` (Jin et al., MoE++, arXiv 2410.07348, eq. 3-5). No row moves
    for the first two: a unit's copies are `x` times the sum of their weights.

    Args:
        bank: the experts that work.
        simple: the others, numbered behind them.
        dim: width of a row, in and out; needed for constant experts.
    """

    def __init__(
        self, bank: Experts, simple: Sequence[SimpleExpert], *, dim: int | None = None
    ) -> None:
        super().__init__()
        unknown = set(simple) - set(get_args(SimpleExpert))
        if unknown:
            raise InputError(
                f"simple experts are {', '.join(get_args(SimpleExpert))}, got {sorted(unknown)}"
            )
        constants = list(simple).count("constant")
        if constants and dim is None:
            raise InputError("constant experts need the width of a row; give dim")
        check_sizes(dim=dim)
        self.dim = bank.dim
        self.bank = bank
        self.simple = tuple(simple)
        self.num_experts = bank.num_experts + len(self.simple)
        if constants and dim is not None:
            self.value = nn.Parameter(torch.zeros(constants, dim))
            self.share = nn.Parameter(torch.zeros(constants, 2, dim))
            nn.init.normal_(self.value, std=dim**-0.5)

    prefers_mix = True

    def one(self, expert: int, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *out"]:
        """Output of one expert."""
        number = expert - self.bank.num_experts
        if number < 0:
            return self.bank.one(expert, rows)
        if self.simple[number] == "zero":
            return torch.zeros_like(rows)
        if self.simple[number] == "copy":
            return rows
        constant = self.simple[:number].count("constant")
        share = torch.softmax(rows @ self.share[constant].T, -1)
        return share[..., :1] * rows + share[..., 1:] * self.value[constant]

    def mix(self, x: Float[Tensor, "units *rest"], routing: Routing) -> Float[Tensor, "units *out"]:
        """The bank's own dispatch for its experts; the others without moving a row."""
        from mixtura.core.dispatch.auto import Auto

        working = self.bank.num_experts
        inner = routing.keep(routing.expert < working)
        inner.expert = torch.where(routing.expert < working, routing.expert, working)
        inner.num_experts = working
        y = Auto()(self.bank, x, inner)
        for number, kind in enumerate(self.simple):
            if kind != "zero":
                weight = routing.dense_weight[:, working + number].to(y.dtype)
                output = self.one(working + number, x)
                y = y + weight.view(-1, *[1] * (x.ndim - 1)) * output
        return y
