"""Expert choice: every expert takes its best units.

Shape letters: U units, G groups of units that are chosen from apart, T units of a group, R routed
experts, k units that an expert takes from a group.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core.checks import check_number, check_option
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection

__all__ = ["ExpertChoice", "Taken", "assign", "assign_taken", "check_capacity", "take_best"]

Rounding = Literal["floor", "ceil"]
ROUNDOFF = 1e-9  # 50 * 1.1 units are 55, not 55.00000000000001


@configurable
class ExpertChoice(Selection):
    """Each expert takes the `capacity * T / R` units that it scores highest.

    The load is balanced by construction; a unit may be taken by several experts or by none. What is
    taken depends on the other units, so this is not causal; over "pool" it depends on the other
    samples of the batch too.

    Zhou et al., Mixture-of-Experts with Expert Choice Routing, 2022 (arXiv 2202.09368), over the
    pool, rounded up; EC-DiT (arXiv 2410.02098) and ProMoE's expert choice (arXiv 2510.24711) in
    each sample, rounded down.

    Args:
        capacity: experts per unit on average.
        over: whether an expert chooses in each sample or in all units at once.
        rounding: of the number of units that an expert takes.
        minimum: units that an expert takes at least, where there are as many.
        normalize: `units` replaces the scores by the softmax of the logits over the units that are
            chosen from (ProMoE's softmax mode); `none` keeps them.
    """

    causal = False
    chooser = "experts"

    def __init__(
        self,
        capacity: float = 1.0,
        *,
        over: Literal["sample", "pool"] = "sample",
        rounding: Rounding = "floor",
        minimum: int = 1,
        normalize: Literal["none", "units"] = "none",
    ) -> None:
        super().__init__()
        check_capacity(capacity, minimum)
        check_option("over", over, ("sample", "pool"))
        check_option("rounding", rounding, get_args(Rounding))
        check_option("normalize", normalize, ("none", "units"))
        self.capacity = capacity
        self.over = over
        self.rounding: Rounding = rounding
        self.minimum = minimum
        self.normalize = normalize

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The routing of each expert's best units to it."""
        groups = scored.num_samples if self.over == "sample" else 1
        scores, ranked = scored.scores, scored.ranked
        check_groups(len(scores), groups)
        if self.normalize == "units":
            scores = softmax_over_units(scored.weighing, groups, mask)
            ranked = scores if scored.ranking is None else ranked
        taken = take_best(
            ranked,
            groups=groups,
            capacity=self.capacity,
            rounding=self.rounding,
            minimum=self.minimum,
            mask=mask,
            holes=scored.ranking is not None or scored.allowed is not None,
        )
        return assign_taken(taken, scored, scores, num_experts=num_experts, mask=mask)


class Taken(NamedTuple):
    """What the experts took, and whether each place was filled.

    Attributes:
        unit: the units that each expert took from each group, best first.
        valid: places that count; None means all.
    """

    unit: Int[Tensor, "routed groups k"]
    valid: Bool[Tensor, "routed groups k"] | None


def assign(
    unit: Int[Tensor, "assignments"],
    expert: Int[Tensor, "assignments"],
    valid: Bool[Tensor, "assignments"] | None,
    scored: Scored,
    scores: Float[Tensor, "units routed"],
    *,
    num_experts: int,
    mask: Bool[Tensor, "units"] | None,
) -> Routing:
    """The routing of these units to these experts, whose scores are the weights."""
    if scored.allowed is not None:
        allowed = scored.allowed[unit, expert]
        valid = allowed if valid is None else valid & allowed
    return Routing(
        unit,
        expert if valid is None else expert.masked_fill(~valid, num_experts),
        scores[unit, expert],
        num_units=len(scores),
        num_experts=num_experts,
        mask=mask,
        logits=scored.logits,
        scores=scores,
        aux=scored.aux,
        may_be_invalid=valid is not None,
    )


def assign_taken(
    taken: Taken,
    scored: Scored,
    scores: Float[Tensor, "units routed"],
    *,
    num_experts: int,
    mask: Bool[Tensor, "units"] | None,
) -> Routing:
    """The routing of what the experts took, sorted by expert."""
    expert = torch.arange(len(taken.unit), device=taken.unit.device)[:, None, None]
    return assign(
        taken.unit.flatten(),
        expert.expand_as(taken.unit).flatten(),
        None if taken.valid is None else taken.valid.flatten(),
        scored,
        scores,
        num_experts=num_experts,
        mask=mask,
    )


def take_best(
    ranked: Float[Tensor, "units routed"],
    *,
    groups: int,
    capacity: float,
    rounding: Rounding = "floor",
    minimum: int = 1,
    mask: Bool[Tensor, "units"] | None = None,
    holes: bool = False,
) -> Taken:
    """The best units of each expert in each of `groups` equal groups of neighbouring units.

    A masked unit is not taken and does not count for the capacity, so padding changes nothing; a
    unit that is ranked at minus infinity is not taken, and the place stays free.

    Args:
        ranked: what the experts choose by.
        groups: equal groups of neighbouring units.
        capacity: experts per unit on average.
        rounding: of the number of units that an expert takes.
        minimum: of that number.
        mask: units that exist.
        holes: whether there may be minus infinity among the real units.

    Raises:
        InputError: when the units cannot be split into that many groups.
    """
    units, routed = ranked.shape
    check_groups(units, groups)
    size = units // max(groups, 1)
    exact = size / routed * capacity
    rounded = int(exact) if rounding == "floor" else math.ceil(exact - ROUNDOFF)
    places = min(max(rounded, minimum), size)
    grouped = ranked.detach().T.reshape(routed, groups, size)
    start = torch.arange(groups, device=ranked.device)[:, None] * size
    if mask is None:
        best, index = grouped.topk(places, dim=-1)
        return Taken(index + start, best > -torch.inf if holes else None)
    real = mask.view(groups, size)
    best, index = grouped.masked_fill(~real, -torch.inf).topk(places, dim=-1)
    count = real.sum(-1)
    exact_of = count.double() / routed * capacity
    whole = exact_of.floor() if rounding == "floor" else (exact_of - ROUNDOFF).ceil()
    allowed = torch.minimum(whole.clamp_min(minimum), count)
    within = torch.arange(places, device=ranked.device) < allowed[:, None]
    return Taken(index + start, within & (best > -torch.inf))


def softmax_over_units(
    logits: Float[Tensor, "units routed"], groups: int, mask: Bool[Tensor, "units"] | None
) -> Float[Tensor, "units routed"]:
    """Softmax over the units of each group; masked units take no part and get zero."""
    logits = logits.clamp_min(torch.finfo(logits.dtype).min)
    grouped = logits.view(groups, -1, logits.shape[-1]) if len(logits) else logits[None]
    if mask is None:
        return grouped.softmax(1).view_as(logits)
    real = mask.view(*grouped.shape[:2], 1)
    masked = grouped.masked_fill(~real, torch.finfo(grouped.dtype).min)
    return masked.softmax(1).where(real, 0.0).view_as(logits)


def check_groups(units: int, groups: int) -> None:
    """Refuse units that do not come from so many samples in equal shares."""
    if groups and units % groups:
        raise InputError(
            f"{units} units do not come from {groups} samples in equal shares; give the input "
            "with one leading dimension for the samples, or choose over the pool"
        )


def check_capacity(capacity: float, minimum: int) -> None:
    """Refuse a capacity by which nobody would get anything."""
    check_number("capacity", capacity, above=0)
    check_number("minimum", minimum, least=0)
