"""Entropy of the mean routing distribution: all experts should be used."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.losses.load_balance import scores_of
from mixtura.core.routing import Routing

__all__ = ["MarginalEntropy", "marginal_entropy"]


def marginal_entropy(calls: Sequence[Routing]) -> Float[Tensor, ""]:
    """`H(mean_u p_u)` in nats over the units of all calls; log R where all experts are used alike.

    Less `router_entropy` it is the mutual information of units and experts,
    `I = H(mean p) - mean H(p)` (Bridle et al., Unsupervised Classifiers, Mutual Information and
    'Phantom Targets', NeurIPS 1991).

    Args:
        calls: routings with scores over the same experts.
    """
    if not calls:
        raise InputError("a marginal entropy needs at least one routing")
    shares = [scores_of(call, "share") for call in calls]
    alive = [
        torch.ones(len(share), device=share.device) if call.free is None else call.free.float()
        for call, share in zip(calls, shares, strict=True)
    ]
    pairs = zip(shares, alive, strict=True)
    total = torch.stack([(share * real[:, None]).sum(0) for share, real in pairs]).sum(0)
    mean = total / torch.stack([real.sum() for real in alive]).sum().clamp_min(1)
    return -torch.special.xlogy(mean, mean.clamp_min(1e-20)).sum()


@configurable
class MarginalEntropy(Loss):
    """Minus `marginal_entropy`, so that training raises it.

    With `RouterEntropy` of the same weight the two raise the mutual information of units and
    experts: every unit decides clearly, and all experts are used.

    Args:
        weight: factor of the term.
        scope: per layer, or pooled.
    """

    name = "marginal_entropy"
    reads_shares = True

    def __init__(self, weight: float = 1e-3, *, scope: Scope = "layer") -> None:
        super().__init__(weight, scope)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return -marginal_entropy(calls)
