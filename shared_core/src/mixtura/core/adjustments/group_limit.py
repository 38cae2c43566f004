"""Experts in groups: a unit chooses groups first."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from mixtura.core.adjustments.base import Adjustment
from mixtura.core.checks import (
    check_groups_selected,
    check_number,
    check_option,
    check_sizes,
)
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.scores.base import Score, Scored

__all__ = ["GroupLimit"]


@configurable
class GroupLimit(Adjustment):
    """Only the experts of a unit's `keep` best groups can be chosen.

    A group's score is its best expert's ("max": DeepSeek-V2), the sum of its two best ("top2":
    DeepSeek-V3), or the sum of its best `k // keep` ("topk_over_groups": Megatron-Core), each by
    what the experts are chosen by, balance bias included. The other groups rank at minus infinity:
    at zero, an expert outside could win against a negative bias.

    DeepSeek-V2 (arXiv 2405.04434); DeepSeek-V3 (arXiv 2412.19437).

    Args:
        groups: number of groups, of equal size and in the order of the experts.
        keep: groups that a unit may use.
        score: how a group is scored.
        k: experts per unit, for "topk_over_groups".
    """

    in_groups = True

    def __init__(
        self,
        groups: int,
        keep: int,
        *,
        score: Literal["max", "top2", "topk_over_groups"] = "top2",
        k: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(groups=groups, keep=keep, k=k)
        check_number("keep", keep, most=groups)
        check_option("score", score, ("max", "top2", "topk_over_groups"))
        if (score == "topk_over_groups") != (k is not None):
            raise InputError("k belongs to the group score topk_over_groups; give both or neither")
        if k is not None and k < keep:
            raise InputError(f"k must be at least the number of kept groups ({keep}), got {k}")
        self.groups = groups
        self.k = k
        self.keep = keep
        self.best = {"max": 1, "top2": 2}.get(score) or (k or 0) // keep

    def on_scores(self, scored: Scored, score: Score) -> Scored:
        """The ranking with minus infinity outside the kept groups."""
        ranked = scored.ranked
        grouped = ranked.unflatten(-1, (self.groups, -1))
        best = min(self.best, grouped.shape[-1])
        kept = grouped.topk(best, -1).values.sum(-1).topk(self.keep, -1).indices
        outside = ranked.new_ones(ranked.shape[0], self.groups).scatter(-1, kept, 0.0).bool()
        limited = grouped.masked_fill(outside[..., None], -float("inf")).flatten(-2)
        return replace(scored, ranking=limited)

    def check(self, score: Score, choices: int | None) -> None:
        """Groups of equal size, large enough for the choices."""
        experts = score.num_experts
        if experts % self.groups:
            raise InputError(
                f"{experts} experts cannot be put into {self.groups} groups of equal size"
            )
        if None not in (self.k, choices) and self.k != choices:
            raise InputError(
                f"the groups are scored for k = {self.k}, but a unit chooses {choices} experts; "
                "make the two numbers equal"
            )
        reachable = self.keep * experts // self.groups
        if choices is not None and choices > reachable:
            raise InputError(
                f"{self.keep} groups hold {reachable} experts, fewer than the {choices} that a "
                "unit chooses; keep more groups or lower k"
            )

    def check_selected(self, index: Sequence[int], num_experts: int) -> None:
        """The groups stay what they are."""
        check_groups_selected(index, num_experts, self.groups)
