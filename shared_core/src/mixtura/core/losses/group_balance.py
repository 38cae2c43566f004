"""Balance between groups of experts, and balance within each."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.losses.load_balance import scores_of
from mixtura.core.losses.per_unit import kept
from mixtura.core.routing import Routing

__all__ = ["GroupBalance", "GroupedBalance", "group_balance", "grouped_balance"]


Groups = int | Sequence[int]


def group_of(groups: Groups, routed: int) -> Int[Tensor, "routed"]:
    """The group of each expert: equal shares in the order of the experts, or as it is told."""
    if isinstance(groups, int):
        if routed % groups:
            raise InputError(f"{routed} experts cannot be put into {groups} groups of equal size")
        return torch.arange(routed) // (routed // groups)
    if len(groups) != routed:
        raise InputError(f"expected the group of each of {routed} experts, got {len(groups)}")
    return torch.tensor(list(groups))


def group_balance(
    calls: Sequence[Routing],
    groups: Groups,
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
        groups: D, number of groups of equal size in the order of the experts, or the number of the
            group of each expert.
        count: see above.
        limit: M, groups that a unit may use.
    """
    check_option("count", count, ("assignments", "units"))
    used_by: list[Tensor] = []
    sums: list[Tensor] = []
    units: list[Tensor] = []
    slots: list[Tensor] = []
    for call in calls:
        scores = scores_of(call)
        routed = scores.shape[-1]
        member = F.one_hot(group_of(groups, routed)).to(scores)  # (R, D)
        alive = scores.new_ones(len(scores)) if call.free is None else call.free.to(scores.dtype)
        used = (call.chosen[:, :routed] * alive[:, None]) @ member
        if count == "units":
            used_by.append((used > 0).to(scores.dtype).sum(0))
        else:
            used_by.append(used.sum(0) * routed / member.sum(0).clamp_min(1))
        sums.append((scores * alive[:, None]).sum(0) @ member)
        units.append(alive.sum())
        slots.append(alive.sum() * (call.choices or 1))
    if not calls:
        raise InputError("a balance loss needs at least one routing")
    counts, score_sum = torch.stack(used_by).sum(0), torch.stack(sums).sum(0)
    many = torch.stack(units).sum().clamp_min(1)
    if count == "units":
        frequency = len(counts) / limit * counts / many
    else:
        frequency = counts / torch.stack(slots).sum().clamp_min(1)
    return (frequency * score_sum / many).sum()


def grouped_balance(calls: Sequence[Routing], groups: int) -> Float[Tensor, ""]:
    """The Switch loss within each group of experts, over the group's own units, then averaged.

    For routers that give every unit one group (`GroupedScore`): over all experts a loss would fight
    the clusters. Balance gives 1; groups without units do not count.

    For Mixture-of-Clustered-Experts (arXiv 2509.10513), which leaves the loss open.

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
        groups: number of groups of equal size, or the number of the group of each expert.
        weight: factor of the term; 0.05 (devices) and 0.02 (communication) in DeepSeek-V2.
        count: assignments or units.
        limit: groups that a unit may use, for `units`.
    """

    name = "group_balance"
    reads_shares = True

    def __init__(
        self,
        groups: Groups,
        weight: float = 0.05,
        *,
        count: Literal["assignments", "units"] = "assignments",
        limit: int = 1,
    ) -> None:
        super().__init__(weight)
        check_sizes(limit=limit)
        if isinstance(groups, int):
            check_sizes(groups=groups)
        else:
            for group in groups:
                check_number("the number of a group", group, least=0)
        check_option("count", count, ("assignments", "units"))
        self.groups: Groups = groups if isinstance(groups, int) else tuple(groups)
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
    reads_shares = True

    def __init__(self, groups: int, weight: float = 0.01) -> None:
        super().__init__(weight)
        check_sizes(groups=groups)
        self.groups = groups

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return grouped_balance(calls, self.groups)
