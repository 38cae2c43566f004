"""How rows lie beside the weights of stacked experts.

An expert's mathematics is written once, in `StackedExperts.compute`, with two words: `linear` for
a matrix and `vector` for anything elementwise. A layout says what they mean for the rows at hand.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.experts.grouped_linear import grouped_linear

__all__ = ["Batched", "Grouped", "GroupedKernel", "Layout", "Single"]


class Layout:
    """What `StackedExperts.compute` may ask for."""

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """`rows W^T + b` with each row's own expert."""
        raise NotImplementedError

    def vector(self, parameter: Tensor) -> Tensor:
        """A parameter of shape (experts, ...) made to broadcast against rows."""
        raise NotImplementedError

    def rows_gradient(self, grad: Tensor, weight: Tensor) -> Tensor:
        """`grad W`: from outputs of `linear` back to its rows."""
        return grad @ weight

    def weight_gradient(
        self, grad: Tensor, rows: Tensor, into: dict[str, Tensor], name: str
    ) -> None:
        """Put the gradient of W in `rows W^T` where it belongs, if it is wanted."""
        if name in into:
            product = torch.mm if grad.ndim == 2 else torch.bmm
            product(grad.mT, rows, out=into[name])

    def bias_gradient(self, grad: Tensor, into: dict[str, Tensor], name: str) -> None:
        """Put the gradient of an offset where it belongs, if it is wanted."""
        if name in into:
            torch.sum(grad, -2, out=into[name])


class Single(Layout):
    """All rows belong to one expert: weights (out, in), rows (rows, ..., in)."""

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """A plain linear map."""
        return F.linear(rows, weight, bias)

    def vector(self, parameter: Tensor) -> Tensor:
        """The parameter as it is."""
        return parameter


class Batched(Layout):
    """Every expert has as many rows: weights (experts, out, in), rows (experts, rows, ..., in)."""

    def linear(
        self,
        rows: Float[Tensor, "experts rows *rest"],
        weight: Float[Tensor, "experts out in"],
        bias: Float[Tensor, "experts out"] | None = None,
    ) -> Tensor:
        """One batched matrix product."""
        flat = rows.reshape(rows.shape[0], -1, rows.shape[-1])
        if bias is None:
            product = torch.bmm(flat, weight.transpose(1, 2))
        else:
            product = torch.baddbmm(bias[:, None], flat, weight.transpose(1, 2))
        return product.view(*rows.shape[:-1], weight.shape[1])

    def vector(self, parameter: Tensor) -> Tensor:
        """With an axis for the rows."""
        return parameter[:, None]


class Grouped(Layout):
    """Rows sorted by expert, in one grouped product: weights (experts, out, in), rows (rows, in).

    Args:
        offsets: where the rows of each expert end (int32).
        expert: expert of each row; a row of no expert carries the number of experts.
    """

    def __init__(self, offsets: Int[Tensor, "experts"], expert: Int[Tensor, "rows"]) -> None:
        self.offsets = offsets
        self.group = expert

    def linear(
        self,
        rows: Float[Tensor, "rows in"],
        weight: Float[Tensor, "experts out in"],
        bias: Float[Tensor, "experts out"] | None = None,
    ) -> Float[Tensor, "rows out"]:
        """One grouped matrix product; rows of no expert give zeros."""
        product = grouped_linear(rows, weight, self.offsets)
        return product if bias is None else product + self.vector(bias)

    def vector(self, parameter: Tensor) -> Tensor:
        """Each row's own."""
        return parameter.index_select(0, self.group.clamp_max(len(self.offsets) - 1))


class GroupedKernel(Grouped):
    """`Grouped` for kernels: torch's grouped products as they are, without autograd.

    Rows of no expert hold anything.
    """

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """One grouped matrix product."""
        product = F.grouped_mm(rows, weight.mT, offs=self.offsets)
        return product if bias is None else product.add_(self.vector(bias))

    def rows_gradient(self, grad: Tensor, weight: Tensor) -> Tensor:
        """One grouped matrix product."""
        return F.grouped_mm(grad, weight, offs=self.offsets)

    def weight_gradient(
        self, grad: Tensor, rows: Tensor, into: dict[str, Tensor], name: str
    ) -> None:
        """One grouped matrix product."""
        if name in into:
            into[name] = F.grouped_mm(grad.mT, rows, offs=self.offsets)

    def bias_gradient(self, grad: Tensor, into: dict[str, Tensor], name: str) -> None:
        """Sums of each expert's rows."""
        if name in into:
            sums = grad.new_zeros(len(self.offsets) + 1, grad.shape[1])
            into[name] = sums.index_add_(0, self.group, grad)[:-1]
