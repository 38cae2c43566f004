"""Rows exchanged between processes, with gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed

__all__ = ["exchange"]


def exchange(
    rows: Float[Tensor, "sent *rest"],
    send: Sequence[int],
    receive: Sequence[int],
    group: distributed.ProcessGroup,
) -> Float[Tensor, "received *rest"]:
    """All-to-all: the first `send[0]` rows go to rank 0 of the group, the next to rank 1, ...

    Args:
        rows: what this process has, sorted by the rank it is for.
        send: rows for each rank.
        receive: rows from each rank.
        group: who takes part; all of them have to, in backward too.
    """
    return _Exchange.apply(rows, list(send), list(receive), group)


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, send: list[int], receive: list[int], group: Any) -> Tensor:
        ctx.back = (receive, send, group)
        received = rows.new_empty(sum(receive), *rows.shape[1:])
        distributed.all_to_all_single(received, rows.contiguous(), receive, send, group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return _Exchange.apply(grads[0], *ctx.back), None, None, None
