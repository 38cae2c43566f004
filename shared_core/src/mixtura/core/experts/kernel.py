"""Experts with their derivative written out, for dispatches that are one node of the graph.

Autograd on many small pieces costs more than the pieces. A kernel says what forward keeps and what
backward makes of it; the dispatch gathers the rows, and tells where the gradients go.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

from mixtura.core.experts.layouts import Layout

__all__ = ["Kernel"]


@runtime_checkable
class Kernel(Protocol):
    """The mathematics of an expert and of its derivative.

    Rows are (rows, in) for one expert and (experts, rows, in) for all at once; so are weights.
    """

    def forward(
        self, rows: Tensor, weights: Mapping[str, Tensor | None], layout: Layout
    ) -> tuple[Tensor, Tensor]:
        """Outputs, and the one tensor that backward needs besides the rows."""
        ...

    def backward(
        self,
        grad: Tensor,
        gate: Tensor,
        rows: Tensor,
        kept: Tensor,
        weights: Mapping[str, Tensor | None],
        layout: Layout,
        into: dict[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Derivatives of `gate * forward(rows)`.

        Args:
            grad: gradient of the weighted outputs.
            gate: combine weight of each row (..., rows, 1).
            rows: as in forward.
            kept: what forward gave besides the outputs.
            weights: as in forward.
            layout: as in forward.
            into: where the layout puts the gradients of the weights, by name; one that is missing
                is not wanted.

        Returns:
            The gradients of the rows and of the gate.
        """
        ...
