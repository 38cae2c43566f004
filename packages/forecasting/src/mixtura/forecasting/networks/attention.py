"""Grouped-query attention with the options that the forecasting papers use."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.dropout import dropout
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.key_value_cache import KeyValueCache
from mixtura.forecasting.networks.rotary import Rotary


class GroupedQueryAttention(nn.Module):
    """Scaled dot-product attention; groups of query heads share a key and a value head.

    References: Ainslie et al., GQA, EMNLP 2023 (arXiv 2305.13245); Qiu et al., Gated Attention,
    2025 (arXiv 2505.06708) for the sigmoid gate per head.

    Args:
        dim: width of a token.
        num_heads: query heads.
        num_kv_heads: key and value heads, `num_heads` if not given.
        rotary: position encoding of queries and keys.
        bias: whether the query, key and value projections have biases.
        out_bias: whether the output projection has one.
        qk_norm: RMS normalisation without weights of queries and keys, after the rotation.
        head_gate: multiply each head's output by the sigmoid of a projection of its query token.
        dropout: of attention probabilities, in training only.
        causal: whether a token sees only itself and earlier ones.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        *,
        rotary: Rotary | None = None,
        bias: bool = True,
        out_bias: bool = False,
        qk_norm: bool = False,
        head_gate: bool = False,
        dropout: float = 0.0,
        causal: bool = False,
    ) -> None:
        super().__init__()
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        if dim % num_heads:
            raise InputError(
                f"dim must be divisible by num_heads, got dim {dim} and num_heads {num_heads}"
            )
        if num_heads % num_kv_heads:
            raise InputError(
                f"num_heads must be divisible by num_kv_heads, got {num_heads} and {num_kv_heads}"
            )
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        self.head_dim = dim // num_heads
        self.rotary = rotary
        self.qk_norm, self.head_gate = qk_norm, head_gate
        self.dropout, self.causal = dropout, causal
        kv_dim = num_kv_heads * self.head_dim
        self.q_proj = nn.Linear(dim, dim + num_heads * head_gate, bias=bias)
        self.k_proj = nn.Linear(dim, kv_dim, bias=bias)
        self.v_proj = nn.Linear(dim, kv_dim, bias=bias)
        self.o_proj = nn.Linear(dim, dim, bias=out_bias)
        for linear in (self.q_proj, self.k_proj, self.v_proj, self.o_proj):
            nn.init.xavier_uniform_(linear.weight)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        context: Float[Tensor, "batch keys dim"] | None = None,
        *,
        mask: Bool[Tensor, "batch #heads tokens keys"] | None = None,
        positions: Int[Tensor, "*batch tokens"] | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        last: bool = False,
    ) -> Float[Tensor, "batch out dim"]:
        """Attend from `x` to `context` (to `x` itself if not given).

        Args:
            x: query tokens.
            context: key and value tokens, at positions 0, 1, ...
            mask: what may be seen; replaces the causal rule.
            positions: of the query tokens (and keys, without a context), 0, 1, ... by default.
            cache: keys and values of earlier tokens, extended in place.
            layer: number of this layer in `cache`.
            last: attend from the last token of `x` only.
        """
        queries, keys, values, gate = self._project(x, context, positions, last)
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        keys, values = (_repeat_heads(each, self.num_heads) for each in (keys, values))
        rate = self.dropout if self.training else 0.0
        causal = self.causal and mask is None and not last
        if last and mask is not None:
            mask = mask[:, :, -1:]
        if rate and mask is None and not causal and x.device.type == "cpu":
            mixed = _attend_with_dropout(queries, keys, values, rate)
        else:
            mixed = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, dropout_p=rate, is_causal=causal
            )
        mixed = mixed.transpose(1, 2)
        if gate is not None:
            mixed = mixed * torch.sigmoid(gate)
        return self.o_proj(mixed.flatten(-2))

    def probabilities(
        self,
        x: Float[Tensor, "batch tokens dim"],
        *,
        positions: Int[Tensor, "*batch tokens"] | None = None,
    ) -> Float[Tensor, "batch heads tokens tokens"]:
        """How much each token attends to each, to look at; `forward` never holds this matrix."""
        queries, keys, _, _ = self._project(x, None, positions)
        keys = _repeat_heads(keys, self.num_heads)
        logits = (queries @ keys.transpose(-2, -1)).float() / self.head_dim**0.5
        if self.causal:
            ahead = torch.ones(logits.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
            logits = logits.masked_fill(ahead, float("-inf"))
        return logits.softmax(-1)

    def _project(
        self,
        x: Float[Tensor, "batch tokens dim"],
        context: Float[Tensor, "batch keys dim"] | None,
        positions: Int[Tensor, "*batch tokens"] | None,
        last: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Rotated queries and keys, values, and the logits of the head gates."""
        queries, gate = self._queries(x[:, -1:] if last else x)
        source = x if context is None else context
        keys = self.k_proj(source).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2)
        values = self.v_proj(source).unflatten(-1, (self.num_kv_heads, -1)).transpose(1, 2)
        if self.rotary is not None:
            if positions is None:
                positions = torch.arange(x.shape[1], device=x.device)
            key_positions = positions
            if context is not None:
                key_positions = torch.arange(context.shape[1], device=x.device)
            queries = self.rotary(queries, positions[..., -1:] if last else positions)
            keys = self.rotary(keys, key_positions)
        if self.qk_norm:
            queries = F.rms_norm(queries, (self.head_dim,))
            keys = F.rms_norm(keys, (self.head_dim,))
        return queries, keys, values, gate

    def _queries(
        self, x: Float[Tensor, "batch tokens dim"]
    ) -> tuple[Float[Tensor, "batch heads tokens head_dim"], Tensor | None]:
        """Queries, and gate logits (batch, tokens, heads, 1): they follow each group's queries."""
        projected = self.q_proj(x)
        if not self.head_gate:
            return projected.unflatten(-1, (self.num_heads, -1)).transpose(1, 2), None
        share = self.num_heads // self.num_kv_heads
        grouped = projected.unflatten(-1, (self.num_kv_heads, -1))
        queries, gate = grouped.split([self.head_dim * share, share], -1)
        queries = queries.unflatten(-1, (share, -1)).flatten(2, 3).transpose(1, 2)
        return queries, gate.flatten(2).unsqueeze(-1)


def _attend_with_dropout(
    queries: Float[Tensor, "batch heads tokens head_dim"],
    keys: Float[Tensor, "batch heads keys head_dim"],
    values: Float[Tensor, "batch heads keys head_dim"],
    rate: float,
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """On a CPU there is no fused attention with dropout, only one with a slow generator."""
    logits = queries * queries.shape[-1] ** -0.5 @ keys.transpose(-2, -1)
    return dropout(logits.softmax(-1), rate) @ values


def _repeat_heads(
    x: Float[Tensor, "batch kv_heads tokens head_dim"], num_heads: int
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Each key or value head, repeated for the query heads of its group."""
    if x.shape[1] == num_heads:
        return x
    return x.repeat_interleave(num_heads // x.shape[1], dim=1)
