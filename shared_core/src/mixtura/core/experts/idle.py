"""Idle experts stay in the graph, with gradients of zero."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["with_idle"]


def with_idle(outputs: Tensor, idle: Sequence[Tensor]) -> Tensor:
    """The outputs; backward gives zeros to the parameters of experts that had no rows.

    Data parallelism waits for a gradient of every parameter, and a stacked bank gives zeros too.
    """
    wanted = [parameter for parameter in idle if parameter.requires_grad]
    if not wanted or not torch.is_grad_enabled():
        return outputs
    return _WithIdle.apply(outputs, *wanted)


class _WithIdle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outputs: Tensor, *idle: Tensor) -> Tensor:
        ctx.save_for_backward(*idle)
        return outputs.view_as(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return grads[0], *(torch.zeros_like(parameter) for parameter in ctx.saved_tensors)
