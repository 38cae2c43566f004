"""Capacity: an expert takes so many assignments and no more."""

from typing import Literal, get_args

import torch
from jaxtyping import Int
from torch import Tensor

from mixtura.core.checks import check_number, check_option
from mixtura.core.configuration import configurable
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection
from mixtura.core.selections.wrapper import SelectionWrapper

__all__ = ["Capacity", "queue_position"]

Policy = Literal["choice", "unit", "weight", "priority", "tied"]


@configurable
class Capacity(SelectionWrapper):
    """Assignments beyond an expert's capacity are dropped; the remaining weights stay as they are.

    `per="sample"` counts within each sample, `per="batch"` over all units. The capacity is

    - `rule="units"`: max(min(L, int(L factor / E)), minimum) for L units (GShard, ST-MoE);
    - `rule="choices"`: ceil(L k factor / E) (Megatron-Core).

    Who is kept: `choice` fills in the order of the units, all first choices before all second ones
    (GShard); `unit` in the order of the units alone; `weight` keeps the largest weights
    (Megatron's "probs"); `priority` lets the units of highest score go first (Riquelme et al.,
    V-MoE, arXiv 2106.05974); `tied` keeps those that torch.topk finds first among equals, which is
    what Megatron-Core calls "position".

    The routing's `aux` tells each assignment's place in its expert's queue (`slot`, -1 if dropped)
    and the `capacity`.

    Sources: Lepikhin et al., GShard (arXiv 2006.16668); Zoph et al., ST-MoE (arXiv 2202.08906).

    Args:
        selection: who chooses before.
        factor: capacity over perfectly even load, in training.
        eval_factor: the same outside training; like `factor` when not given.
        per: the scope of a queue.
        rule: how the capacity is computed.
        policy: who is kept.
        minimum: smallest capacity.
    """

    changes = frozenset({"units"})

    def __init__(
        self,
        selection: Selection,
        factor: float = 1.25,
        *,
        eval_factor: float | None = None,
        per: Literal["batch", "sample"] = "batch",
        rule: Literal["units", "choices"] = "units",
        policy: Policy = "choice",
        minimum: int = 0,
    ) -> None:
        super().__init__(selection)
        eval_factor = factor if eval_factor is None else eval_factor
        check_number("factor", factor, above=0)
        check_number("eval_factor", eval_factor, above=0)
        check_option("per", per, ("batch", "sample"))
        check_option("rule", rule, ("units", "choices"))
        check_option("policy", policy, get_args(Policy))
        check_number("minimum", minimum, least=0)
        self.causal = False
        self.factor = factor
        self.eval_factor = eval_factor
        self.per = per
        self.rule = rule
        self.policy = policy
        self.minimum = minimum

    def capacity(self, units: int, choices: int, num_experts: int) -> int:
        """Assignments that an expert takes from so many units."""
        factor = self.factor if self.training else self.eval_factor
        if self.rule == "units":
            return max(min(units, int(units * factor / num_experts)), self.minimum)
        # -(-a // b) is the ceiling; rounding first keeps 30 * 4 / 16 * 1.0 from becoming 8.0000001
        return max(int(-(-round(units * choices * factor, 9) // num_experts)), self.minimum)

    def change(self, routing: Routing, scored: Scored) -> Routing:
        """Keep the first ones of each queue."""
        index = routing.index
        assert index is not None  # units chose
        units, choices = index.shape
        samples = scored.num_samples if self.per == "sample" else 1
        capacity = self.capacity(units // max(samples, 1), choices, scored.logits.shape[-1])
        sample = torch.arange(units, device=index.device) // max(units // max(samples, 1), 1)
        queue = routing.expert.view_as(index) + sample[:, None] * (routing.num_experts + 1)
        position = queue_position(queue.reshape(-1), self._order(routing, capacity))
        kept = (position < capacity) & (routing.expert < routing.num_experts)
        limited = routing.keep(kept)
        limited.aux["slot"] = position.masked_fill(~kept, -1).view_as(index)
        limited.aux["capacity"] = capacity
        limited.aux["dropped"] = (routing.expert < routing.num_experts).sum() - kept.sum()
        return limited

    def _order(self, routing: Routing, capacity: int) -> Int[Tensor, "assignments"]:
        assert routing.index is not None  # checked by `change`
        units, choices = routing.index.shape
        flat = torch.arange(units * choices, device=routing.index.device)
        if self.policy == "unit":
            return flat
        by_choice = flat.view(units, choices)
        weight = routing.weight.detach()
        if self.policy == "tied":
            chosen = routing.chosen.int()
            found = chosen.topk(min(capacity, units), dim=0, sorted=False).indices
            first = torch.zeros_like(chosen).scatter(0, found, 1).bool()
            first = first.gather(-1, routing.index).reshape(-1)
            return (~first).int().argsort(stable=True)
        if self.policy == "weight":
            return weight.argsort(descending=True, stable=True)
        if self.policy == "priority":
            best = weight.view(units, choices).amax(-1)
            by_choice = by_choice.index_select(0, best.argsort(descending=True, stable=True))
        return by_choice.T.reshape(-1)


def queue_position(
    queue: Int[Tensor, "assignments"], order: Int[Tensor, "assignments"]
) -> Int[Tensor, "assignments"]:
    """Each assignment's place, from 0, in its queue.

    Args:
        queue: number of the queue that each assignment stands in.
        order: the assignments in the order in which they come.
    """
    arrived = queue.index_select(0, order)
    by_queue = arrived.argsort(stable=True)
    sorted_queue = arrived.index_select(0, by_queue)
    start = torch.searchsorted(sorted_queue, sorted_queue)
    place = torch.arange(len(queue), device=queue.device) - start
    position = torch.empty_like(queue)
    return position.scatter_(0, order.index_select(0, by_queue), place)
