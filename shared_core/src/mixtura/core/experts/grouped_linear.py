"""Matrix products of groups of rows, each with its own matrix, that compiled code cannot look into.

`rows` (N, in) are sorted by group, `weight` is (E, out, in), `offsets` (E,) int32 says where the
rows of each group end. Rows behind the last group give zeros. Three products are closed under
derivatives: `rows W^T`, `rows W` and the outer product of two sets of rows.

The loop inside writes into one tensor; `torch.nn.functional.grouped_mm` takes over on a GPU in
bfloat16, where it is a kernel of its own. (On a CPU it is the same loop, does not compile in
float32, and demands strides of whole 16 bytes.)
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

__all__ = ["grouped_linear"]


def grouped_linear(
    rows: Float[Tensor, "rows in"],
    weight: Float[Tensor, "experts out in"],
    offsets: Int[Tensor, "experts"],
) -> Float[Tensor, "rows out"]:
    """`rows W_e^T`, with the matrix of each row's group."""
    if torch.is_autocast_enabled(rows.device.type):
        narrow = torch.get_autocast_dtype(rows.device.type)
        rows, weight = rows.to(narrow), weight.to(narrow)
    if _has_a_kernel(rows, weight):
        product = F.grouped_mm(rows, weight.mT, offs=offsets)
        live = torch.arange(len(rows), device=rows.device) < offsets[-1]
        return product.where(live[:, None], 0.0)
    return torch.ops.mixtura.grouped_product(rows, weight, offsets, True)


def _has_a_kernel(rows: Tensor, weight: Tensor) -> bool:
    return (
        rows.is_cuda
        and rows.dtype == torch.bfloat16
        and not any(size % 8 for size in (rows.shape[1], weight.shape[1]))
    )


def _groups(offsets: Tensor) -> list[slice]:
    ends = offsets.tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


@torch.library.custom_op("mixtura::grouped_product", mutates_args=())
def _product(rows: Tensor, weight: Tensor, offsets: Tensor, transposed: bool) -> Tensor:
    """`rows W^T` if transposed, else `rows W`."""
    weight = weight.mT if transposed else weight
    out = rows.new_empty(rows.shape[0], weight.shape[2])
    groups = _groups(offsets)
    for matrix, group in zip(weight.unbind(0), groups, strict=True):
        if group.stop > group.start:
            torch.mm(rows[group], matrix, out=out[group])
    out[groups[-1].stop :] = 0
    return out


@_product.register_fake
def _(rows: Tensor, weight: Tensor, offsets: Tensor, transposed: bool) -> Tensor:
    return rows.new_empty(rows.shape[0], weight.shape[1 if transposed else 2])


@torch.library.custom_op("mixtura::grouped_outer", mutates_args=())
def _outer(left: Tensor, right: Tensor, offsets: Tensor) -> Tensor:
    """`left^T right` of each group: (E, left width, right width)."""
    out = left.new_empty(len(offsets), left.shape[1], right.shape[1])
    for matrix, group in zip(out.unbind(0), _groups(offsets), strict=True):
        if group.stop > group.start:
            torch.mm(left[group].mT, right[group], out=matrix)
        else:
            matrix.zero_()
    return out


@_outer.register_fake
def _(left: Tensor, right: Tensor, offsets: Tensor) -> Tensor:
    return left.new_empty(len(offsets), left.shape[1], right.shape[1])


def _keep_product(ctx: Any, inputs: tuple, output: Tensor) -> None:
    rows, weight, offsets, ctx.transposed = inputs
    ctx.save_for_backward(rows, weight, offsets)


def _product_backward(ctx: Any, grad: Tensor) -> tuple:
    rows, weight, offsets = ctx.saved_tensors
    ops = torch.ops.mixtura
    grad = grad.contiguous()
    grad_rows = ops.grouped_product(grad, weight, offsets, not ctx.transposed)
    pair = (grad, rows) if ctx.transposed else (rows, grad)
    return grad_rows, ops.grouped_outer(*pair, offsets), None, None


def _keep_outer(ctx: Any, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _outer_backward(ctx: Any, grad: Tensor) -> tuple:
    left, right, offsets = ctx.saved_tensors
    ops = torch.ops.mixtura
    grad = grad.contiguous()
    grad_left = ops.grouped_product(right, grad, offsets, True)
    return grad_left, ops.grouped_product(left, grad, offsets, False), None


_product.register_autograd(_product_backward, setup_context=_keep_product)
_outer.register_autograd(_outer_backward, setup_context=_keep_outer)
