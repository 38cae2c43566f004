"""The parts of a decoder on single points: embedding, block, and which points see which."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mixtura.core import MoELayer
from mixtura.core.experts.activations import activation_function
from mixtura.forecasting.networks.attention import GroupedQueryAttention
from mixtura.forecasting.networks.key_value_cache import KeyValueCache
from mixtura.forecasting.networks.norms import RMSNorm

__all__ = ["DecoderBlock", "PointEmbedding", "View", "causal_mask", "segment_view"]


class View(NamedTuple):
    """What a pass through the blocks knows of its points.

    Attributes:
        visible: keys that each point sees; the causal rule if None.
        positions: of the points.
        real: points that are no padding; all if None. The others are not routed.
        cache: keys and values of earlier points.
    """

    visible: Bool[Tensor, "series 1 time keys"] | None
    positions: Int[Tensor, "*series time"]
    real: Bool[Tensor, "series time"] | None = None
    cache: KeyValueCache | None = None


class PointEmbedding(nn.Module):
    """`activation(W_g x) * (W_e x)` of each point."""

    def __init__(self, dim: int, activation: str = "silu") -> None:
        super().__init__()
        self.activation = activation
        self.embed = nn.Linear(1, dim, bias=False)
        self.gate = nn.Linear(1, dim, bias=False)

    def forward(self, x: Float[Tensor, "series time"]) -> Float[Tensor, "series time dim"]:
        """One token per point."""
        points = x.unsqueeze(-1)
        return activation_function(self.activation)(self.gate(points)) * self.embed(points)


class DecoderBlock(nn.Module):
    """Pre-norm causal attention, then a mixture of experts or one dense network."""

    def __init__(self, dim: int, attention: GroupedQueryAttention, mixture: nn.Module, eps: float):
        super().__init__()
        self.attention_norm = RMSNorm(dim, eps)
        self.attention = attention
        self.mixture_norm = RMSNorm(dim, eps)
        self.mixture = mixture

    def forward(
        self, x: Float[Tensor, "series time dim"], view: View, layer: int, last: bool = False
    ) -> Float[Tensor, "series out dim"]:
        """The tokens after this block.

        Args:
            x: tokens.
            view: what is known of them.
            layer: number of this block in the cache.
            last: work out the last token only; the others just lend their keys and values.
        """
        h = self.attention_norm(x)
        h = self.attention(
            h, mask=view.visible, positions=view.positions, cache=view.cache, layer=layer, last=last
        )
        real = view.real
        if last:
            x, real = x[:, -1:], None
        x = x + h
        h = self.mixture_norm(x)
        if real is not None and isinstance(self.mixture, MoELayer):
            return x + self.mixture(h, mask=real)
        return x + self.mixture(h)


def causal_mask(
    before: int, new: int, mask: Bool[Tensor, "series all"] | None, device: torch.device
) -> Bool[Tensor, "*series one new all"]:
    """Which keys each new token sees: itself, and earlier ones that are real."""
    keys = torch.arange(before + new, device=device)
    own = keys[before:, None]
    if mask is None:
        return (keys <= own)[None, None]
    return ((keys <= own) & mask[:, None, None, :]) | (keys == own)


def segment_view(segments: Int[Tensor, "series time"]) -> View:
    """Points of packed sequences: each sees the earlier ones of its own sequence only.

    Args:
        segments: number of the sequence of each point; -1 for padding.
    """
    places = torch.arange(segments.shape[1], device=segments.device)
    same = segments[:, None, :, None] == segments[:, None, None, :]
    begins = torch.ones_like(segments, dtype=torch.bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    first = torch.where(begins, places, 0).cummax(1).values
    return View(same & (places <= places[:, None]), places - first, segments >= 0)
