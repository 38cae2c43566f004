"""Rows to the experts and back, each way one pass over the memory and no temporary.

Shape letters: U units, K choices per unit, N assignments, d width. `place` (U, K) says where in the
experts' order the rows of a unit's choices are.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

__all__ = ["collect", "spread", "weighted_collect"]


def spread(
    x: Float[Tensor, "units dim"],
    unit: Int[Tensor, "rows"],
    place: Int[Tensor, "units choices"],
) -> Float[Tensor, "rows dim"]:
    """`x[unit]`; the gradient of a unit is the sum over its places, not a scatter."""
    return _Spread.apply(x, unit, place)


def weighted_collect(
    rows: Float[Tensor, "rows dim"],
    weight: Float[Tensor, "units choices"],
    unit: Int[Tensor, "rows"],
    place: Int[Tensor, "units choices"],
) -> Float[Tensor, "units dim"]:
    """`sum_k weight[:, k] rows[place[:, k]]`, summed in float32 at least.

    Args:
        rows: the experts' outputs in their order, one for each place.
        weight: in the dtype of `rows`.
        unit: unit of each row.
        place: row of each choice; the places are a permutation of the rows.
    """
    return _WeightedCollect.apply(rows, weight, unit, place)


def collect(
    rows: Float[Tensor, "rows dim"],
    place: Int[Tensor, "units choices"],
    weight: Float[Tensor, "units choices"] | None = None,
) -> Float[Tensor, "units dim"]:
    """`sum_k rows[place[:, k]]`, each times `weight[:, k]` when given; no gradients of its own."""
    if place.shape[1] == 1:
        one = rows.index_select(0, place.flatten())
        return one if weight is None else one.mul_(weight)
    return F.embedding_bag(place, rows, mode="sum", per_sample_weights=weight)


class _Spread(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, unit: Tensor, place: Tensor) -> Tensor:
        return x.index_select(0, unit)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        _, unit, place = inputs
        ctx.save_for_backward(unit, place)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        (grad,) = grads
        unit, place = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted
            return grad.new_zeros(len(place), grad.shape[1]).index_add(0, unit, grad), None, None
        return collect(grad.contiguous(), place), None, None


class _WeightedCollect(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, unit: Tensor, place: Tensor) -> Tensor:
        return collect(rows, place, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        (grad,) = grads
        rows, weight, unit, place = ctx.saved_tensors
        units, choices = place.shape
        flat = place.reshape(-1)
        spread_grad = grad.index_select(0, unit)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            dots = (spread_grad * rows).sum(-1)
            grad_weight = dots.index_select(0, flat).view(units, choices)
        row_weight = torch.zeros_like(weight.reshape(-1)).index_copy(0, flat, weight.reshape(-1))
        if torch.is_grad_enabled():
            return spread_grad * row_weight[:, None], grad_weight, None, None
        return spread_grad.mul_(row_weight[:, None]), grad_weight, None, None
