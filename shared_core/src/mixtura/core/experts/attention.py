"""Attention experts: a soft mixture of attention layers."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.stacked import init_per_expert

__all__ = ["AttentionExperts"]


@configurable
class AttentionExperts(nn.Module):
    """Multi-head attention, several times over: `O_i softmax(Q_i K_i^T / sqrt(d_k)) V_i`.

    All experts attend at once, as so many more heads.

    BAM (Zhang et al., NeurIPS 2024, arXiv 2408.08274).

    Args:
        num_experts: E.
        dim: width of a token.
        num_heads: heads of each expert.
        shared_key_value: whether all experts look at the same keys and values (cheaper to run), or
            each at its own (better).
    """

    def __init__(
        self, num_experts: int, dim: int, num_heads: int, *, shared_key_value: bool = False
    ) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts, dim=dim, num_heads=num_heads)
        if dim % num_heads:
            raise InputError(f"dim ({dim}) must be a multiple of num_heads ({num_heads})")
        self.num_experts = num_experts
        self.num_heads = num_heads
        copies = 1 if shared_key_value else num_experts
        self.query = nn.Parameter(torch.empty(num_experts, dim, dim))
        self.key = nn.Parameter(torch.empty(copies, dim, dim))
        self.value = nn.Parameter(torch.empty(copies, dim, dim))
        self.out = nn.Parameter(torch.empty(num_experts, dim, dim))
        for weight in self.parameters():
            init_per_expert(weight)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        mask: Bool[Tensor, "batch tokens"] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Tensor, "batch tokens experts dim"]:
        """What every expert gives for every token.

        Args:
            x: the tokens.
            mask: tokens that may be looked at.
            causal: look at no later token.
        """
        query, key, value = (self._heads(x, w) for w in (self.query, self.key, self.value))
        seen = None
        if mask is not None:
            seen = mask[:, None, None, :]
            if causal:
                seen = seen & torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril().to(mask)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=seen, is_causal=causal and mask is None
        )
        joined = attended.unflatten(1, (self.num_experts, -1)).transpose(2, 3).flatten(3)
        return torch.einsum("betd,eod->bteo", joined, self.out)

    def _heads(self, x: Tensor, weight: Tensor) -> Tensor:
        heads = F.linear(x, weight.flatten(0, 1)).unflatten(-1, (len(weight), self.num_heads, -1))
        heads = heads.permute(0, 2, 3, 1, 4).expand(-1, self.num_experts, -1, -1, -1)
        return heads.flatten(1, 2)
