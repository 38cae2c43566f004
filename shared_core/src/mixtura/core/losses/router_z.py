"""Router z-loss: logits should stay small."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.routing import Routing

__all__ = ["RouterZ", "router_z"]


def router_z(calls: Sequence[Routing]) -> Float[Tensor, ""]:
    """`mean_u logsumexp(z_u)^2`, over the units of all calls that are not padded or forced.

    Where a score function adds noise it keeps `clean_logits`, and those are used.

    Zoph et al., ST-MoE, 2022 (arXiv 2202.08906, eq. 5).

    Args:
        calls: routings with logits.
    """
    total: Tensor | float = 0.0
    units: Tensor | float = 0.0
    for call in calls:
        logits = call.aux.get("clean_logits", call.logits)
        if logits is None:
            raise InputError("a router z-loss needs routings that carry logits")
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        alive = (logits > -float("inf")).any(-1)
        if call.free is not None:
            alive = alive & call.free
        squared = logits.masked_fill(~alive[:, None], 0.0).logsumexp(-1).square()
        total = total + (squared * alive).sum()
        units = units + alive.sum()
    if not isinstance(total, Tensor):
        raise InputError("a router z-loss needs at least one routing")
    return total / torch.as_tensor(units).clamp_min(1)


@configurable
class RouterZ(Loss):
    """`router_z` as a configured loss.

    Args:
        weight: factor of the term.
        scope: per layer, or pooled.
    """

    name = "router_z"

    def __init__(self, weight: float = 1e-3, *, scope: Scope = "layer") -> None:
        super().__init__(weight, scope)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return router_z(calls)
