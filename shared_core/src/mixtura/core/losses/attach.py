"""A loss that rides on an output."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["attach_loss"]


class _Attach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, loss: Tensor, factor: Tensor | float) -> Tensor:
        ctx.factor = factor
        ctx.shape, ctx.dtype, ctx.device = loss.shape, loss.dtype, loss.device
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        ones = torch.ones(ctx.shape, dtype=ctx.dtype, device=ctx.device)
        return grad, ones * ctx.factor, None


def attach_loss(
    y: Float[Tensor, "*shape"], loss: Float[Tensor, ""], factor: Tensor | float = 1.0
) -> Float[Tensor, "*shape"]:
    """`y` itself; its backward pass also runs that of `factor * loss`.

    For pipeline stages, whose losses cannot be handed to the last stage. Adding the recorded losses
    to the task loss is better wherever it can be done.

    Args:
        y: an output on the way to the task loss.
        loss: the auxiliary loss, weighted.
        factor: the loss scale of mixed precision over the steps of gradient accumulation: nothing
            else scales this gradient.
    """
    return _Attach.apply(y, loss, factor)
