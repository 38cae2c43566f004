"""How rows lie beside the weights of stacked experts.

An expert's mathematics is written once, in `StackedExperts.compute`, with two words: `linear` for
a matrix and `vector` for anything elementwise. A layout says what they mean for the rows at hand.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.experts.grouped_linear import grouped_linear
from mixtura.core.huge_pages import empty_like

__all__ = ["Batched", "Grouped", "GroupedKernel", "Layout", "Pieces", "Single"]


class Layout:
    """What `StackedExperts.compute` may ask for.

    Attributes:
        padded: whether there are more rows than work, so that a kernel better holds less at a time
            and computes something again.
    """

    padded: bool = False

    def linear(self, rows: Tensor, weight: Any, bias: Any = None) -> Tensor:
        """`rows W^T + b` with each row's own expert."""
        raise NotImplementedError

    def vector(self, parameter: Any) -> Tensor:
        """A parameter of shape (experts, ...) made to broadcast against rows."""
        raise NotImplementedError

    def halves(self, rows: Tensor, weight: Any, bias: Any = None) -> Sequence[Tensor]:
        """`linear` as two tensors of half the width, which `linear` takes without a copy."""
        return self.linear(rows, weight, bias).chunk(2, -1)

    def outputs(self, rows: Tensor, weight: Any, bias: Any, out: Tensor | None) -> Tensor:
        """`linear`, which may be put into `out`."""
        return self.linear(rows, weight, bias)

    def rows_gradient(self, grad: Tensor, weight: Any, out: Tensor | None = None) -> Tensor:
        """`grad W`: from outputs of `linear` back to its rows, put into `out` if it is given."""
        return torch.matmul(grad, weight, out=out)

    def weight_gradient(self, grad: Tensor, rows: Tensor, into: dict[str, Any], name: str) -> None:
        """Put the gradient of W in `rows W^T` where W stands in `into`, if it is wanted."""
        if name in into:
            into[name] = torch.matmul(grad.mT, rows, out=empty_like(into[name]))

    def bias_gradient(self, grad: Tensor, into: dict[str, Any], name: str) -> None:
        """Put the gradient of an offset where it stands in `into`, if it is wanted."""
        if name in into:
            into[name] = grad.sum(-2)


class Single(Layout):
    """All rows belong to one expert: weights (out, in), rows (rows, ..., in)."""

    def linear(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """A plain linear map."""
        return F.linear(rows, weight, bias)

    def vector(self, parameter: Tensor) -> Tensor:
        """The parameter as it is."""
        return parameter


class Pieces(Layout):
    """Rows of several experts behind one another, each piece a product of its own, for kernels.

    Weights and their gradients come as one tensor per expert; what is elementwise is done once for
    all pieces.

    Args:
        experts: expert of each piece.
        sizes: rows of each piece.
        first: whether a piece is the first of its expert; gradients of others are added to.
    """

    def __init__(self, experts: Sequence[int], sizes: Sequence[int], first: Sequence[bool]) -> None:
        self.experts, self.sizes, self.first = list(experts), list(sizes), list(first)

    def linear(
        self, rows: Tensor, weight: Sequence[Tensor], bias: Sequence[Tensor] | None = None
    ) -> Tensor:
        """A matrix product for each piece, all into one tensor."""
        return self.outputs(rows, weight, bias, None)

    def outputs(
        self,
        rows: Tensor,
        weight: Sequence[Tensor],
        bias: Sequence[Tensor] | None,
        out: Tensor | None,
    ) -> Tensor:
        """A matrix product for each piece, all into one tensor."""
        out = rows.new_empty(len(rows), weight[0].shape[0]) if out is None else out
        parts = zip(self.experts, rows.split(self.sizes), out.split(self.sizes), strict=True)
        for expert, piece, place in parts:
            if bias is None:
                torch.mm(piece, weight[expert].T, out=place)
            else:
                torch.addmm(bias[expert], piece, weight[expert].T, out=place)
        return out

    def vector(self, parameter: Sequence[Tensor]) -> Tensor:
        """Each row's own."""
        parts = zip(self.experts, self.sizes, strict=True)
        return torch.cat([parameter[expert].expand(size, -1) for expert, size in parts])

    def rows_gradient(
        self, grad: Tensor, weight: Sequence[Tensor], out: Tensor | None = None
    ) -> Tensor:
        """A matrix product for each piece, all into one tensor."""
        out = grad.new_empty(len(grad), weight[0].shape[1]) if out is None else out
        parts = zip(self.experts, grad.split(self.sizes), out.split(self.sizes), strict=True)
        for expert, piece, place in parts:
            torch.mm(piece, weight[expert], out=place)
        return out

    def weight_gradient(self, grad: Tensor, rows: Tensor, into: dict[str, Any], name: str) -> None:
        """A matrix product for each piece, into the gradient of its expert."""
        if name not in into:
            return
        pieces = zip(grad.split(self.sizes), rows.split(self.sizes), strict=True)
        parts = zip(self.experts, self.first, pieces, strict=True)
        for expert, first, (left, right) in parts:
            if first:
                torch.mm(left.T, right, out=into[name][expert])
            else:
                into[name][expert].addmm_(left.T, right)

    def bias_gradient(self, grad: Tensor, into: dict[str, Any], name: str) -> None:
        """Sums of each piece's rows."""
        if name not in into:
            return
        parts = zip(self.experts, self.first, grad.split(self.sizes), strict=True)
        for expert, first, piece in parts:
            if first:
                torch.sum(piece, 0, out=into[name][expert])
            else:
                into[name][expert].add_(piece.sum(0))


class Batched(Layout):
    """Every expert has as many rows: weights (experts, out, in), rows (experts, rows, ..., in)."""

    padded = True

    def halves(self, rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Sequence[Tensor]:
        """Two products: of a part of wider rows a batched product would make a copy."""
        offsets = (None, None) if bias is None else bias.chunk(2, 1)
        parts = zip(weight.chunk(2, 1), offsets, strict=True)
        return [self.linear(rows, part, offset) for part, offset in parts]

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

    def rows_gradient(self, grad: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
        """One grouped matrix product."""
        return F.grouped_mm(grad, weight, offs=self.offsets)

    def weight_gradient(self, grad: Tensor, rows: Tensor, into: dict[str, Any], name: str) -> None:
        """One grouped matrix product."""
        if name in into:
            into[name] = F.grouped_mm(grad.mT, rows, offs=self.offsets)

    def bias_gradient(self, grad: Tensor, into: dict[str, Any], name: str) -> None:
        """Sums of each expert's rows."""
        if name in into:
            sums = grad.new_zeros(len(self.offsets) + 1, grad.shape[1])
            into[name] = sums.index_add_(0, self.group, grad)[:-1]
