"""The gate's score function: linear in an environment's context."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import configurable
from mixtura.core.scores import Score

__all__ = ["ContextScore"]


@configurable
class ContextScore(Score):
    """`[xi ; 1]^T W` with W (C + 1, K), or (C, K) without an offset.

    The gate sees contexts only, never a state or a time: a routing holds for a whole trajectory.

    Nzoyem et al., MixER, 2025, arXiv 2502.05335.

    Args:
        context_dim: C.
        num_experts: K.
        bias: whether a constant one is appended to the context.
    """

    def __init__(self, context_dim: int, num_experts: int, bias: bool = True) -> None:
        super().__init__()
        rows = context_dim + int(bias)
        self.context_dim, self.num_experts, self.bias = context_dim, num_experts, bias
        self.weight = nn.Parameter(
            torch.empty(rows, num_experts).uniform_(-(rows**-0.5), rows**-0.5)
        )

    def features(self, contexts: Float[Tensor, "units context"]) -> Float[Tensor, "units rows"]:
        """The contexts, with the constant one where the gate has an offset."""
        if not self.bias:
            return contexts
        return torch.cat([contexts, torch.ones_like(contexts[:, :1])], 1)

    def forward(
        self, x: Float[Tensor, "units context"]
    ) -> tuple[Float[Tensor, "units experts"], dict[str, Tensor]]:
        """Logits of each environment."""
        return self.features(x) @ self.weight.to(x.dtype), {}
