"""A dense Transformer that does as much work per token as a given Seg-MoE."""

import copy

from torch import nn

from mixtura.core import MoELayer, SegmentUnits
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.feed_forward import FeedForward
from mixtura.forecasting.networks.seg_moe import SegMoE

__all__ = ["dense_twin", "mixture_products"]


def mixture_products(layer: MoELayer, tokens: int) -> float:
    """Multiplications of a sequence's pass through router, shared expert and chosen experts.

    Args:
        layer: with one decision per token or per segment.
        tokens: of the sequence; padding to whole segments is counted.
    """
    size = layer.units.size if isinstance(layer.units, SegmentUnits) else 1
    units = -(-tokens // size)
    rows = units * size if getattr(layer.units, "granularity", "unit") == "row" else units
    k = getattr(layer.router.selection, "k", layer.num_experts)
    routed = weights(layer.experts) / layer.num_experts * k * rows
    shared = 0 if layer.shared is None else weights(layer.shared) * units
    return routed + shared + weights(layer.router) * units


def weights(module: nn.Module) -> int:
    """Numbers in weight matrices."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim >= 2)


def dense_twin(network: SegMoE) -> SegMoE:
    """The same network with one plain feed-forward network in place of each mixture.

    Its hidden width is chosen so that a look-back costs as many multiplications. Attention,
    embedding and head are copies.

    Raises:
        InputError: when a block has no mixture.
    """
    twin = copy.deepcopy(network)
    tokens = network.context_length // network.patch_width
    for block in twin.blocks:
        layer = block.mixture
        if not isinstance(layer, MoELayer):
            raise InputError("a dense twin needs a mixture of experts in every block, found none")
        dim = block.attention.o_proj.out_features
        hidden = round(mixture_products(layer, tokens) / (2 * dim * tokens))
        dropout = getattr(layer.experts, "dropout", 0.0)
        block.mixture = FeedForward(dim, hidden, dropout=dropout)
    return twin
