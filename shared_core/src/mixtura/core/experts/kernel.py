"""Experts with their derivative written out, for dispatches that are one node of the graph.

Autograd on many small pieces costs more than the pieces. A kernel says what forward keeps and what
backward makes of it; the dispatch gathers the rows, and tells where the gradients go.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from mixtura.core.experts.layouts import Layout

__all__ = ["Keep", "Kernel"]


class Keep(IntEnum):
    """What forward keeps for backward.

    Attributes:
        NOTHING: there is no backward, so that forward may overwrite what it made.
        LEAST: what backward cannot make again without a matrix product.
        MORE: what saves operations, where their number counts and not their size.
    """

    NOTHING = 0
    LEAST = 1
    MORE = 2


@runtime_checkable
class Kernel(Protocol):
    """The mathematics of an expert and of its derivative.

    Rows are (rows, in) for one expert or several behind one another, and (experts, rows, in) for
    all at once; the weights are as the layout needs them.
    """

    def forward(
        self,
        rows: Tensor,
        weights: Mapping[str, Any],
        layout: Layout,
        keep: Keep,
        out: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs, and the tensors that backward needs besides the rows; they have rows too.

        Args:
            rows: the input rows.
            weights: as the layout needs them.
            layout: how rows lie beside weights.
            keep: what is kept.
            out: where the outputs may be put.
        """
        ...

    def backward(
        self,
        grad: Tensor,
        gate: Tensor | None,
        rows: Tensor,
        kept: tuple[Tensor, ...],
        weights: Mapping[str, Any],
        layout: Layout,
        into: dict[str, Any],
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Derivatives of `gate * forward(rows)`.

        Args:
            grad: gradient of the weighted outputs.
            gate: combine weight of each row (..., rows, 1); None where `grad` is multiplied by it
                already, and its own gradient comes from the outputs.
            rows: as in forward.
            kept: what forward gave besides the outputs; never changed.
            weights: as in forward.
            layout: as in forward.
            into: where the layout puts the gradients of the weights, by name; one that is missing
                is not wanted.
            out: where the gradient of the rows may be put.

        Returns:
            The gradients of the rows and of the gate.
        """
        ...
