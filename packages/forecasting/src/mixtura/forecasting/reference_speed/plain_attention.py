"""Attention written out: the whole matrix of logits, its softmax in float32, dropout, values."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PlainAttention"]


class PlainAttention(nn.Module):
    """The unfused path of the released code; keys and values of earlier tokens are concatenated.

    Args:
        attention: a `GroupedQueryAttention` whose weights are shared.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        context: Float[Tensor, "batch keys dim"] | None = None,
        *,
        past: list[Tensor] | None = None,
        before: int = 0,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend; `past` holds keys and values of the `before` earlier tokens and is extended."""
        own = self.attention
        source = x if context is None else context
        queries = heads(own.q_proj(x), own.num_heads)
        keys = heads(own.k_proj(source), own.num_kv_heads)
        values = heads(own.v_proj(source), own.num_kv_heads)
        if own.rotary is not None:
            places = torch.arange(before, before + x.shape[1], device=x.device)
            queries = rotated(own.rotary, queries, places)
            keys = rotated(own.rotary, keys, places)
        if past is not None:
            if past:
                keys, values = torch.cat((past[0], keys), 2), torch.cat((past[1], values), 2)
            past[:] = [keys, values]
        share = own.num_heads // own.num_kv_heads
        keys, values = (each.repeat_interleave(share, 1) for each in (keys, values))
        logits = queries @ keys.transpose(-2, -1) / own.head_dim**0.5
        if own.causal:
            ahead = torch.full(logits.shape[-2:], float("-inf"), device=x.device)
            logits = logits + ahead.triu(before + 1).to(logits.dtype)
        weights = logits.softmax(-1, dtype=torch.float32).to(queries.dtype)
        weights = F.dropout(weights, own.dropout, self.training)
        return own.o_proj((weights @ values).transpose(1, 2).flatten(-2))


def heads(x: Tensor, count: int) -> Float[Tensor, "batch heads tokens head_dim"]:
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def rotated(rotary: Any, x: Tensor, places: Tensor) -> Tensor:
    """The released code's own arithmetic: half-split pairs by `rotate_half`, others as complex."""
    angles = rotary.angles(places)
    if type(rotary).__name__ != "HalfSplitRotary":
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
        turned = torch.polar(torch.ones_like(angles), angles)
        return torch.view_as_real(pairs * turned).flatten(-2).type_as(x)
    both = torch.cat((angles, angles), -1)
    first, second = x.chunk(2, -1)
    return x * both.cos().to(x.dtype) + torch.cat((-second, first), -1) * both.sin().to(x.dtype)
