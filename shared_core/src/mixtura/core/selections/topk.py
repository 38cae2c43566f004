"""Top-k: every unit takes its k best experts."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mixtura.core.checks import check_number, check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Score, Scored
from mixtura.core.selections.base import Selection, token_choice

__all__ = ["Renormalize", "TopK", "check_divisor", "normalize_choices"]

Renormalize = Literal["never", "always", "if_k>1", "softmax"]


@configurable
class TopK(Selection):
    """The k experts of highest score; their scores are the combine weights.

    Conventions of released models: Mixtral renormalises "always", Qwen2-MoE and Time-MoE "never",
    Seg-MoE "if_k>1" (renormalised top-1 weights are constantly 1 and would give the router no
    gradient from the task), Megatron's default "softmax" (a softmax over the k logits).

    Shazeer et al., 2017 (arXiv 1701.06538); Jiang et al., Mixtral of Experts, 2024
    (arXiv 2401.04088); DeepSeek-V3 (arXiv 2412.19437).

    Args:
        k: experts per unit.
        renormalize: whether the k weights are divided by their sum.
        scale: factor on all weights (DeepSeek-V3 uses 2.5).
        floor: smallest sum that is divided by.
    """

    takes = frozenset({"k", "ranks", "members"})

    def __init__(
        self,
        k: int,
        *,
        renormalize: Renormalize = "always",
        scale: float = 1.0,
        floor: float = 1e-20,
    ) -> None:
        super().__init__()
        check_sizes(k=k)
        check_option("renormalize", renormalize, get_args(Renormalize))
        check_number("scale", scale, above=0)
        check_number("floor", floor, above=0)
        self.k = k
        self.renormalize: Renormalize = renormalize
        self.scale = scale
        self.floor = floor
        if renormalize == "softmax":
            self.activations = frozenset({"softmax", "identity"})

    def check(self, score: Score, activation: str, reserved: int) -> None:
        """Enough experts, and weights that can be divided by their sum."""
        self._check(self.k, score.num_experts)
        if score.reach is not None and self.k > score.reach:
            raise InputError(
                f"{type(score).__name__} gives a unit {score.reach} experts, so the others of "
                f"k = {self.k} would work for nothing; make the two numbers equal"
            )
        divides = self.renormalize == "always" or (self.renormalize == "if_k>1" and self.k > 1)
        check_divisor(divides, score, activation)

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The routing of each unit to its k best experts."""
        index, valid = self._choose(scored)
        if self.renormalize == "softmax":
            weight = scored.weighing.gather(-1, index)
            if valid is not None:
                weight = weight.masked_fill(~valid, -1e30)
            weight = weight.softmax(-1)
        else:
            weight = scored.scores.gather(-1, index)
        if valid is not None:
            weight = weight.masked_fill(~valid, 0.0)
        if self.renormalize != "softmax":
            weight = normalize_choices(weight, self.renormalize, self.floor)
        if self.scale != 1.0:
            weight = weight * self.scale
        return token_choice(scored, index, weight, valid, num_experts=num_experts, mask=mask)

    def _choose(
        self, scored: Scored
    ) -> tuple[Int[Tensor, "units choices"], Bool[Tensor, "units choices"] | None]:
        ranked = scored.ranked
        choice = scored.choice
        limited = scored.allowed is not None or scored.ranking is not None
        if choice is None:
            self._check(self.k, ranked.shape[-1])
            best, index = ranked.topk(self.k, dim=-1)
            return index, None if scored.allowed is None else best > -float("inf")
        if choice.members is not None:
            ranked = ranked.masked_fill(choice.members, float("inf"))
        if choice.ranks is not None:
            ranks = torch.as_tensor(list(choice.ranks), device=ranked.device)
            self._check(int(max(choice.ranks)) + 1, ranked.shape[-1])
            best, index = ranked.topk(int(max(choice.ranks)) + 1, dim=-1)
            best, index = best.index_select(-1, ranks), index.index_select(-1, ranks)
            return index, best > -float("inf") if limited else None
        k = self.k if choice.k is None else choice.k
        most = int(k.max()) if isinstance(k, Tensor) and k.numel() else k
        most = self.k if isinstance(most, Tensor) else most
        self._check(most, ranked.shape[-1])
        if choice.members is not None:
            _check_members(choice.members, k)
        best, index = ranked.topk(most, dim=-1)
        valid = best > -float("inf") if limited else None
        if isinstance(k, Tensor):
            within = torch.arange(most, device=k.device) < k[:, None]
            valid = within if valid is None else valid & within
        return index, valid

    @staticmethod
    def _check(k: int, routed: int) -> None:
        if not 1 <= k <= routed:
            raise InputError(
                f"k must be between 1 and the number of routed experts ({routed}), got {k}; "
                "lower k or add experts"
            )


def _check_members(members: Bool[Tensor, "units routed"], k: int | Tensor) -> None:
    forced = members.sum(-1)
    if bool((forced > k).any()):
        raise InputError(
            f"{int(forced.max())} members are forced on a unit that chooses fewer experts; force "
            "fewer, or raise k with ChooseK"
        )


def check_divisor(divides: bool, score: Score, activation: str) -> None:
    """Refuse to divide weights by a sum that may be zero or negative."""
    if divides and activation == "identity" and score.gives == "logits":
        raise InputError(
            "weights are divided by their sum, but plain logits may be negative; choose the "
            "activation softmax or sigmoid, or leave the weights as they are"
        )


def normalize_choices(
    weight: Float[Tensor, "units choices"], renormalize: Renormalize, floor: float
) -> Float[Tensor, "units choices"]:
    """Divide the weights of each unit's choices by their sum, where `renormalize` asks for it."""
    if renormalize == "never" or (renormalize == "if_k>1" and weight.shape[-1] == 1):
        return weight
    return weight / torch.clamp_min(weight.sum(-1, keepdim=True), floor)
