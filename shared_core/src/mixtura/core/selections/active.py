"""A choice whose size differs from unit to unit."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import token_choice

__all__ = ["active_routing", "check_bounds"]


def active_routing(
    scored: Scored,
    active: Bool[Tensor, "units routed"],
    weight: Float[Tensor, "units routed"],
    *,
    num_experts: int,
    mask: Bool[Tensor, "units"] | None,
    min_k: int = 0,
    max_k: int | None = None,
    renormalize: bool = False,
) -> Routing:
    """The routing to every active expert, best ranked first.

    The number of choices is `max_k`, or what the busiest unit of the call needs: only compiled
    code, which cannot ask for that, always has room for all experts.

    Args:
        scored: what is chosen from; `members` of an edit are active too.
        active: experts beyond the threshold.
        weight: combine weight of each expert, if it is active.
        num_experts: E, reserved experts included.
        mask: units that may be routed.
        min_k: so many best experts are active anyway.
        max_k: of more active experts only the best so many are taken.
        renormalize: whether the weights of the taken experts are divided by their sum.
    """
    ranked = scored.ranked
    routed = ranked.shape[-1]
    if scored.ranking is not None:
        active = active & (ranked > -float("inf"))
    if scored.choice is not None and scored.choice.members is not None:
        active = active | scored.choice.members
        ranked = ranked.masked_fill(scored.choice.members, float("inf"))
    if scored.allowed is not None:
        active = active & scored.allowed
    if min_k:
        best, index = ranked.topk(min(min_k, routed), dim=-1)
        active = active.scatter(-1, index, best > -float("inf"))
    if mask is not None:
        active = active & mask[:, None]
    if max_k is not None or torch.compiler.is_compiling() or active.shape[0] == 0:
        most = min(max_k or routed, routed)
    else:
        most = max(int(active.sum(-1).max()), 1)
    index = ranked.masked_fill(~active, -float("inf")).topk(most, dim=-1).indices
    valid = active.gather(-1, index)
    chosen = weight.gather(-1, index).masked_fill(~valid, 0.0)
    if renormalize:
        chosen = chosen / chosen.sum(-1, keepdim=True).clamp_min(1e-20)
    return token_choice(scored, index, chosen, valid, num_experts=num_experts, mask=mask)


def check_bounds(min_k: int, max_k: int | None) -> None:
    """Refuse bounds that no unit can keep."""
    if min_k < 0 or (max_k is not None and max_k < max(min_k, 1)):
        raise InputError(f"bounds on the choices must be 0 <= min_k <= max_k, got {min_k}, {max_k}")
