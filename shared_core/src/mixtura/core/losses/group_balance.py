"""Balance between groups of experts, and balance within each."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.losses.load_balance import scores_of
from mixtura.core.losses.per_unit import kept
from mixtura.core.routing import Routing

__all__ = ["GroupBalance", "GroupedBalance", "group_balance", "grouped_balance"]


def group_balance(
    calls: Sequence[Routing],
    groups: int,
    *,
    count: Literal["assignments", "units"] = "assignments",
    limit: int = 1,
) -> Float[Tensor, ""]:
    """`sum_j f_j P_j` over groups of experts, P_j the sum of their mean scores.

    - `assignments` (DeepSeekMoE's device-level loss): f_j is the mean over the group of
      `R / (k U) count_i`;
    - `units` (DeepSeek-V2's communication loss): f_j is `D / (M U)` times the units that use the
      group.

    A group is any set of experts: those of a device, a task, a modality.

    DeepSeekMoE (arXiv 2401.06066, eq. 15-17); DeepSeek-V2 (arXiv 2405.04434, eq. 29-31).

    Args:
        calls: token-choice routings with scores.
        groups: D, number of groups of equal size, in the order of the experts.
        count: see above.
        limit: M, groups that a unit may use.
    """
    counts: Tensor | float = 0.0
    sums: Tensor | float = 0.0
    units: Tensor | float = 0.0
    slots: Tensor | float = 0.0
    for call in calls:
        scores = scores_of(call)
        routed = scores.shape[-1]
        if routed % groups:
            raise InputError(f"{routed} experts cannot be put into {groups} groups of equal size")
        alive = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        alive = alive if call.free is None else call.free
        used = (call.chosen[:, :routed] & alive[:, None]).unflatten(-1, (groups, -1))
        used = used.any(-1) if count == "units" else used.sum(-1)
        counts = counts + used.sum(0)
        sums = sums + (scores * alive[:, None]).sum(0).unflatten(-1, (groups, -1)).sum(-1)
        units = units + alive.sum()
        slots = slots + alive.sum() * (call.choices or 1)
    if not isinstance(sums, Tensor) or not isinstance(counts, Tensor):
        raise InputError("a balance loss needs at least one routing")
    many = torch.as_tensor(units).clamp_min(1)
    if count == "units":
        frequency = groups / limit * counts / many
    elif count == "assignments":
        # mean over a group of R / (k U) count_i is D / (k U) times the group's count
        frequency = groups * counts / torch.as_tensor(slots).clamp_min(1)
    else:
        raise InputError(f"count must be assignments or units, got {count!r}")
    return (frequency * sums / many).sum()


def grouped_balance(calls: Sequence[Routing], groups: int) -> Float[Tensor, ""]:
    """The Switch loss within each group of experts, over the group's own units, then averaged.

    For routers that give every unit one group (`GroupedScore`): over all experts a loss would fight
    the clusters. Balance gives 1; groups without units do not count.

    Args:
        calls: routings whose `aux` has the `group` of each unit.
        groups: number of groups.
    """
    terms: list[Tensor] = []
    weights: list[Tensor] = []
    for call in calls:
        scores = scores_of(call)
        routed = scores.shape[-1]
        group = kept(call, "group", "GroupedScore")
        alive = torch.ones_like(group, dtype=torch.bool) if call.free is None else call.free
        used = call.chosen[:, :routed].to(scores.dtype)
        for g in range(groups):
            mine = ((group == g) & alive).to(scores.dtype)[:, None]
            inside = slice(g * routed // groups, (g + 1) * routed // groups)
            counts, sums = (used * mine)[:, inside].sum(0), (scores * mine)[:, inside].sum(0)
            frequency = counts / counts.sum().clamp_min(1)
            mean = sums / mine.sum().clamp_min(1)
            terms.append(len(counts) * (frequency * mean).sum())
            weights.append((mine.sum() > 0).to(scores.dtype))
    if not terms:
        raise InputError("a balance loss needs at least one routing")
    weight = torch.stack(weights)
    return (torch.stack(terms) * weight).sum() / weight.sum().clamp_min(1)


@configurable
class GroupBalance(Loss):
    """`group_balance` as a configured loss.

    Args:
        groups: number of groups.
        weight: factor of the term; 0.05 (devices) and 0.02 (communication) in DeepSeek-V2.
        count: assignments or units.
        limit: groups that a unit may use, for `units`.
    """

    name = "group_balance"

    def __init__(
        self,
        groups: int,
        weight: float = 0.05,
        *,
        count: Literal["assignments", "units"] = "assignments",
        limit: int = 1,
    ) -> None:
        super().__init__(weight)
        if groups < 1 or limit < 1:
            raise InputError(f"groups and limit must be at least 1, got {groups} and {limit}")
        self.groups = groups
        self.count: Literal["assignments", "units"] = count
        self.limit = limit

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return group_balance(calls, self.groups, count=self.count, limit=self.limit)


@configurable
class GroupedBalance(Loss):
    """`grouped_balance` as a configured loss.

    Args:
        groups: number of groups.
        weight: factor of the term.
    """

    name = "grouped_balance"

    def __init__(self, groups: int, weight: float = 0.01) -> None:
        super().__init__(weight)
        if groups < 1:
            raise InputError(f"groups must be at least 1, got {groups}")
        self.groups = groups

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return grouped_balance(calls, self.groups)
