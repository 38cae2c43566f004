"""Shape of the expert vectors of a top-any router."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.losses.per_unit import kept
from mixtura.core.routing import Routing

__all__ = ["ExpertDiversity", "ExpertSimplicity"]


def _vectors(calls: Sequence[Routing]) -> Float[Tensor, "routed dim"]:
    if not calls:
        raise InputError("a loss on expert vectors needs at least one routing")
    return kept(calls[-1], "expert_vectors", "TopAnyScore")


@configurable
class ExpertDiversity(Loss):
    """`|W W^T - I|` (Frobenius) for unit-length expert vectors: experts should differ.

    Guo et al., Dynamic Mixture of Experts, ICLR 2025 (arXiv 2405.14297, eq. 9).

    Args:
        weight: factor of the term.
    """

    name = "expert_diversity"

    def __init__(self, weight: float = 1e-2) -> None:
        super().__init__(weight)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        vectors = torch.nn.functional.normalize(_vectors(calls), dim=-1)
        same = torch.eye(len(vectors), device=vectors.device, dtype=vectors.dtype)
        return (vectors @ vectors.T - same).norm()


@configurable
class ExpertSimplicity(Loss):
    """Mean length of the expert vectors: large ones would dominate.

    Guo et al., Dynamic Mixture of Experts, ICLR 2025 (arXiv 2405.14297, eq. 9).

    Args:
        weight: factor of the term.
    """

    name = "expert_simplicity"

    def __init__(self, weight: float = 1e-2) -> None:
        super().__init__(weight)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return _vectors(calls).norm(dim=-1).mean()
