"""Top-k: every unit takes its k best experts."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.routing import Routing
from mixtura.core.scores.base import Scored
from mixtura.core.selections.base import Selection

__all__ = ["Renormalize", "TopK", "normalize_choices"]

Renormalize = Literal["never", "always", "if_k>1", "softmax"]


@configurable
class TopK(Selection):
    """The k experts of highest score; their scores are the combine weights.

    Conventions of released models: Mixtral renormalises "always", Qwen2-MoE and Time-MoE "never",
    Seg-MoE "if_k>1" (renormalised top-1 weights are constantly 1 and would give the router no
    gradient from the task), Megatron's default "softmax" (a softmax over the k logits).

    Args:
        k: experts per unit.
        renormalize: whether the k weights are divided by their sum.
        scale: factor on all weights (DeepSeek-V3 uses 2.5).
        floor: smallest sum that is divided by.
    """

    def __init__(
        self,
        k: int,
        *,
        renormalize: Renormalize = "always",
        scale: float = 1.0,
        floor: float = 1e-20,
    ) -> None:
        super().__init__()
        if k < 1:
            raise InputError(f"k must be at least 1, got {k}; a unit needs an expert")
        self.k = k
        self.renormalize: Renormalize = renormalize
        self.scale = scale
        self.floor = floor

    def forward(
        self, scored: Scored, *, num_experts: int, mask: Bool[Tensor, "units"] | None = None
    ) -> Routing:
        """The routing of each unit to its k best experts."""
        scores = scored.scores
        if self.k > scores.shape[-1]:
            raise InputError(
                f"k must be between 1 and the number of routed experts ({scores.shape[-1]}), "
                f"got {self.k}; lower k or add experts"
            )
        weight, index = scores.topk(self.k, dim=-1)
        if self.renormalize == "softmax":
            weight = scored.logits.gather(-1, index).softmax(-1)
        else:
            weight = normalize_choices(weight, self.renormalize, self.floor)
        if self.scale != 1.0:
            weight = weight * self.scale
        return Routing.from_choices(
            index,
            weight,
            num_experts=num_experts,
            mask=mask,
            logits=scored.logits,
            scores=scores,
            aux=scored.aux,
        )


def normalize_choices(
    weight: Float[Tensor, "units choices"], renormalize: Renormalize, floor: float
) -> Float[Tensor, "units choices"]:
    """Divide the weights of each unit's choices by their sum, where `renormalize` asks for it."""
    if renormalize == "never" or (renormalize == "if_k>1" and weight.shape[-1] == 1):
        return weight
    return weight / torch.clamp_min(weight.sum(-1, keepdim=True), floor)
