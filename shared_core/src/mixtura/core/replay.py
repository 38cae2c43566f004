"""Is this forward pass a real one, or is backward recomputing it?

Activation checkpointing runs a forward pass twice. What is counted must be counted once.
"""

import torch
from torch import Tensor

__all__ = ["replayed"]


def replayed(x: Tensor) -> Tensor | bool:
    """Whether autograd is running backward right now.

    Args:
        x: any tensor of the forward pass: the answer of compiled code must depend on something.

    Returns:
        A bool in eager mode; in compiled code a tensor (), known when the code has run.
    """
    if torch.compiler.is_compiling():
        return torch.ops.mixtura.replayed(x)
    return _in_backward()


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


@torch.library.custom_op("mixtura::replayed", mutates_args=())
def _replayed(x: Tensor) -> Tensor:
    return torch.tensor(_in_backward())


@_replayed.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty((), dtype=torch.bool)
