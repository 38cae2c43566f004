"""Attention over the tokens of all variates at once."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.norms import RMSNorm
from mixtura.forecasting.networks.rotary import InterleavedRotary

__all__ = ["AnyVariateAttention"]


class AnyVariateAttention(nn.Module):
    """A learned bias per head tells tokens of the same variate from those of others.

    Queries and keys are normalised, then the first half of each head's dimensions is rotated by
    the token's place in time.

    Reference: Woo et al., Unified training of universal time series forecasting transformers,
    ICML 2024 (arXiv 2402.02592).

    Args:
        dim: width of a token.
        num_heads: attention heads.
        eps: of the normalisations of queries and keys.
        dropout: of attention probabilities, in training.
    """

    def __init__(
        self, dim: int, num_heads: int, *, eps: float = 1e-5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if dim % (4 * num_heads):
            raise InputError(
                f"dim must be a multiple of 4 times num_heads, got {dim} and {num_heads}"
            )
        self.num_heads, self.dropout = num_heads, dropout
        self.head_dim = dim // num_heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.o_proj = nn.Linear(dim, dim, bias=False)
        self.q_norm = RMSNorm(self.head_dim, eps)
        self.k_norm = RMSNorm(self.head_dim, eps)
        self.variate_bias = nn.Parameter(torch.zeros(2, num_heads))
        self.rotary = InterleavedRotary(self.head_dim // 2)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        visible: Bool[Tensor, "batch tokens tokens"],
        same_variate: Bool[Tensor, "batch tokens tokens"],
        time_id: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend where `visible` (query, key) allows it."""
        queries, keys, values = (
            project(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        bias = self.variate_bias[same_variate.long()].permute(0, 3, 1, 2)
        mixed = F.scaled_dot_product_attention(
            self._turned(self.q_norm(queries), time_id),
            self._turned(self.k_norm(keys), time_id),
            values,
            attn_mask=bias.masked_fill(~visible.unsqueeze(1), -float("inf")),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(-2))

    def _turned(
        self,
        x: Float[Tensor, "batch heads tokens head_dim"],
        time_id: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch heads tokens head_dim"]:
        turned, rest = x.chunk(2, -1)
        return torch.cat((self.rotary(turned, time_id), rest), -1)
