"""Time-MoE's generation as the released code does it."""

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import MoELayer
from mixtura.forecasting.networks.norms import RMSNorm
from mixtura.forecasting.networks.schedule import head_schedule
from mixtura.forecasting.networks.time_moe import TimeMoE
from mixtura.forecasting.reference_speed.loop_mixture import LoopMixture
from mixtura.forecasting.reference_speed.plain_attention import PlainAttention

__all__ = ["LoopTimeMoE"]


class LoopTimeMoE(nn.Module):
    """Every point through every layer, experts in a loop, a cache that grows by concatenation.

    Args:
        network: whose weights are taken.
    """

    def __init__(self, network: TimeMoE) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.blocks: list[Any] = list(self.network.blocks)
        for block in self.blocks:
            block.attention = PlainAttention(block.attention)
            if isinstance(block.mixture, MoELayer):
                block.mixture = LoopMixture(block.mixture)

    @torch.no_grad()
    def generate(
        self, x: Float[Tensor, "series time"], horizon: int
    ) -> Float[Tensor, "series horizon"]:
        """The points after the series by the greedy schedule of heads."""
        network = self.network
        caches: list[list[Tensor]] = [[] for _ in self.blocks]
        before, new, parts = 0, x, []
        for step in head_schedule(horizon, network.horizons):
            tokens = network.embedding(new)
            for block, past in zip(self.blocks, caches, strict=True):
                h = root_mean_square_norm(block.attention_norm, tokens)
                tokens = tokens + block.attention(h, past=past, before=before)
                tokens = tokens + block.mixture(root_mean_square_norm(block.mixture_norm, tokens))
            hidden = root_mean_square_norm(network.norm, tokens)
            before += new.shape[1]
            new = network.heads[network.horizons.index(step)](hidden)[:, -1]
            parts.append(new)
        return torch.cat(parts, 1)


def root_mean_square_norm(norm: RMSNorm, x: Tensor) -> Tensor:
    """In float32, written out."""
    wide = x.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.eps)
    return norm.weight * scaled.to(x.dtype)
