"""Importance and load of noisy top-k gates."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.losses.load_balance import check_choices
from mixtura.core.losses.per_unit import kept
from mixtura.core.routing import Routing

__all__ = ["Importance", "SmoothLoad", "importance", "smooth_load", "squared_variation"]


def squared_variation(amount: Float[Tensor, "experts"]) -> Float[Tensor, ""]:
    """Variance over squared mean (the variance of the whole, not of a sample)."""
    return amount.var(correction=0) / amount.mean().square().clamp_min(1e-20)


def importance(calls: Sequence[Routing]) -> Float[Tensor, ""]:
    """`CV^2(sum_u g_u)`: every expert should have the same sum of combine weights.

    Shazeer et al., 2017 (arXiv 1701.06538, eq. 6-7).

    Args:
        calls: routings over the same experts.
    """
    if not calls:
        raise InputError("an importance loss needs at least one routing")
    total = torch.stack([_weight_sum(call) for call in calls]).sum(0)
    return squared_variation(total)


def _weight_sum(call: Routing) -> Float[Tensor, "experts"]:
    check_choices(call)
    weight = call.weight
    if call.free is not None:
        weight = weight * call.free.index_select(0, call.unit)
    total = weight.new_zeros(call.num_experts + 1).index_add(0, call.expert, weight)
    return total[: call.num_experts if call.scores is None else call.scores.shape[-1]]


def smooth_load(calls: Sequence[Routing], k: int) -> Float[Tensor, ""]:
    """`CV^2(sum_u P(u, e))`, the chance that expert e is chosen when its noise is drawn again.

    `P = Phi((z_clean - kth) / sigma)`, where kth is the k-th largest noisy logit without e's own.

    Shazeer et al., 2017 (arXiv 1701.06538, appendix A).

    Args:
        calls: routings of a `NoisyLinearScore` in training.
        k: experts per unit.
    """
    if not calls:
        raise InputError("a load loss needs at least one routing")
    total: Tensor | float = 0.0
    for call in calls:
        clean = kept(call, "clean_logits", "NoisyLinearScore")
        std = kept(call, "noise_std", "NoisyLinearScore in training")
        noisy = kept(call, "noisy_logits", "NoisyLinearScore in training")
        routed = noisy.shape[-1]
        if k >= routed:
            raise InputError(f"a load loss needs k below the number of experts, {routed}, got {k}")
        best = noisy.topk(k + 1, -1).values
        inside = noisy >= best[:, k - 1 : k]
        kth = torch.where(inside, best[:, k:], best[:, k - 1 : k])
        chance = torch.special.ndtr((clean - kth) / std.clamp_min(1e-10))
        if call.free is not None:
            chance = chance * call.free[:, None]
        total = total + chance.sum(0)
    assert isinstance(total, Tensor)
    return squared_variation(total)


@configurable
class Importance(Loss):
    """`importance` as a configured loss.

    Args:
        weight: factor of the term.
        scope: per layer, or pooled.
    """

    name = "importance"

    def __init__(self, weight: float = 0.1, *, scope: Scope = "layer") -> None:
        super().__init__(weight, scope)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return importance(calls)


@configurable
class SmoothLoad(Loss):
    """`smooth_load` as a configured loss.

    Args:
        k: experts per unit.
        weight: factor of the term.
    """

    name = "smooth_load"

    def __init__(self, k: int, weight: float = 0.1) -> None:
        super().__init__(weight)
        check_sizes(k=k)
        self.k = k

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return smooth_load(calls, self.k)
