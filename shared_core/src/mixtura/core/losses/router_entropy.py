"""Entropy of the routing distribution."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.losses.load_balance import scores_of
from mixtura.core.losses.per_unit import mean_over_units
from mixtura.core.routing import Routing

__all__ = ["RouterEntropy", "router_entropy"]


def router_entropy(calls: Sequence[Routing]) -> Float[Tensor, ""]:
    """`-(1/U) sum_u sum_e p_ue log p_ue` (nats), scores taken as shares of their sum.

    Minimised, it keeps a top-p router from flattening its distribution to use many experts (Huang
    et al., arXiv 2403.07652, eq. 6).

    Args:
        calls: routings with scores.
    """

    def entropy(call: Routing) -> Tensor:
        share = scores_of(call, "share")
        return -torch.special.xlogy(share, share.clamp_min(1e-20)).sum(-1)

    return mean_over_units(calls, entropy)


@configurable
class RouterEntropy(Loss):
    """`router_entropy` as a configured loss.

    Args:
        weight: factor of the term.
        scope: per layer, or pooled.
    """

    name = "router_entropy"
    reads_shares = True

    def __init__(self, weight: float = 1e-4, *, scope: Scope = "layer") -> None:
        super().__init__(weight, scope)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return router_entropy(calls)
