"""One logit per unit and slot: soft MoE."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.scores.base import Score

__all__ = ["SlotScore"]


@configurable
class SlotScore(Score):
    """`z = a <x / |x|, phi / |phi|>` with the embedding `phi` of a slot and a learned scale `a`.

    Puigcerver et al., From Sparse to Soft Mixtures of Experts, 2023 (arXiv 2308.00951, 2.3).

    With `slot_norm` the embeddings pass through that module instead, and neither units nor logits
    are scaled: put a norm before the layer and the slots mix normalised units, as one widely used
    implementation does.

    Args:
        dim: width of what the router looks at.
        num_experts: E.
        slots: slots of each expert.
        slot_norm: see above.
    """

    gives = "slots"
    scale: nn.Parameter | None

    def __init__(
        self, dim: int, num_experts: int, slots: int = 1, *, slot_norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts, slots=slots)
        self.dim = dim
        self.num_experts = num_experts
        self.slots = slots
        self.embedding = nn.Parameter(torch.randn(num_experts, slots, dim) / dim**0.5)
        self.slot_norm = slot_norm
        self.register_parameter("scale", None if slot_norm else nn.Parameter(torch.ones(())))

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed_slots"], dict[str, Any]]:
        """Logits of each unit for the slots, expert by expert."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            units, embedding = x.to(precise), self.embedding.to(precise)
            if self.slot_norm is not None:
                embedding = self.slot_norm(embedding)
            elif self.scale is not None:
                units = F.normalize(units, dim=-1)
                embedding = F.normalize(embedding, dim=-1) * self.scale.to(precise)
            return units @ embedding.flatten(0, 1).T, {}
