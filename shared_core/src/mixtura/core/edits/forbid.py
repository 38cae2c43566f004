"""Experts that may not be chosen."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from mixtura.core.edits.base import Edit, per_unit
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Scored

__all__ = ["Forbid", "expert_mask"]


class Forbid(Edit):
    """The next best experts take the place of the forbidden ones (their logit is minus infinity).

    Args:
        experts: numbers of experts; or a mask that is true where forbidden, per expert or per unit
            and expert; or a function of the scores that gives such a mask (a core set that a batch
            shares, for example).
    """

    stage = "forbid"

    def __init__(self, experts: Sequence[int] | Tensor | Callable[[Scored], Tensor]) -> None:
        self.experts = experts

    def on_scored(self, scored: Scored) -> Scored:
        """The scores with fewer experts allowed."""
        experts = self.experts(scored) if callable(self.experts) else self.experts
        allowed = ~expert_mask(experts, scored)
        return replace(
            scored, allowed=allowed if scored.allowed is None else scored.allowed & allowed
        )


def expert_mask(experts: Sequence[int] | Tensor, scored: Scored) -> Bool[Tensor, "units routed"]:
    """True at the given experts, which are numbers or a mask, for every unit."""
    like = scored.logits
    if isinstance(experts, Tensor) and experts.dtype == torch.bool:
        return per_unit(experts, like, "a mask of experts").expand_as(like)
    numbers = torch.as_tensor(experts, device=like.device, dtype=torch.int64)
    routed = like.shape[-1]
    if numbers.numel() and not 0 <= int(numbers.min()) <= int(numbers.max()) < routed:
        raise InputError(
            f"expert numbers must be between 0 and {routed - 1}, got {numbers.flatten().tolist()}"
        )
    mask = torch.zeros(routed, dtype=torch.bool, device=like.device)
    mask[numbers] = True
    return mask.expand_as(like)
