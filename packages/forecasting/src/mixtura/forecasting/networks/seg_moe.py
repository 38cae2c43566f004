"""Seg-MoE: a patch Transformer whose experts are chosen by segments of neighbouring patches."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import LoadBalance, configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.attention import GroupedQueryAttention
from mixtura.forecasting.networks.feed_forward import FeedForwardKind
from mixtura.forecasting.networks.heads import HeadKind, make_head
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.mixture_block import MIXTURE_ALPHA, MixtureBlock
from mixtura.forecasting.networks.norms import NormKind, make_norm
from mixtura.forecasting.networks.patching import EmbeddingNorm, PatchEmbedding
from mixtura.forecasting.networks.rotary import InterleavedRotary
from mixtura.forecasting.networks.segment_mixture import (
    Granularity,
    Renormalize,
    segment_mixture,
)
from mixtura.forecasting.networks.sliding import LossRegion, SlidingNetwork


@configurable
class SegMoE(SlidingNetwork):
    """Channel-independent: every variate is a series of its own; one model serves all horizons.

    Reference: Seg-MoE, segment-wise mixture of experts for time series forecasting
    (arXiv 2601.21641).

    Args:
        context_length: look-back L, a multiple of `patch_width`.
        patch_width: points of a patch.
        width_factor: points predicted per pass, in patches.
        num_layers: Transformer blocks.
        dim: width of a token.
        num_heads: query heads.
        num_kv_heads: key and value heads, `num_heads` if not given.
        hidden_dim: width inside an expert.
        segment_sizes: patches that choose an expert together, the same for all blocks or one each.
        num_experts: routed experts per block, 0 for a dense model.
        top_k: experts per segment.
        expert_granularity: what an expert sees of its segments.
        shared_expert: kind of the expert that always works.
        glu: whether experts are gated.
        renormalize: when the weights of the chosen experts are made to sum to 1.
        router_temperature: of the router's softmax.
        router_dropout: on the router's probabilities.
        dropout: in embedding, attention and experts.
        drop_path: stochastic depth of the last block, growing linearly from 0.
        norm: normalisation of the blocks: "rms", "layer" or "dyt", a dynamic tanh.
        embedding_norm: normalisation of the patch embedding.
        bias: whether output projections, experts and heads have offsets.
        rope_theta: base of the rotary positions; 0 for none.
        qk_norm: normalise queries and keys.
        head_gate: gate each attention head.
        causal: whether a patch sees only itself and earlier ones.
        head: the network between the last block and the un-patching.
        unpatch: how tokens become points.
        head_dropout: before the un-patching.
        instance_norm: normalise each window by its own mean and scale.
        balance: load-balance loss of the routers; weight 0.02 and normalised to 1 if not given.
        dynamic_window: let a short window grow during a forecast.
        loss_region: output points that training looks at.
    """

    blocks: Sequence[MixtureBlock]

    def __init__(
        self,
        context_length: int = 512,
        patch_width: int = 8,
        width_factor: float = 3.0,
        num_layers: int = 4,
        dim: int = 64,
        num_heads: int = 4,
        num_kv_heads: int | None = 2,
        hidden_dim: int = 128,
        segment_sizes: int | list[int] = 1,
        num_experts: int = 4,
        top_k: int = 1,
        expert_granularity: Granularity = "token",
        shared_expert: FeedForwardKind | None = "mlp",
        glu: bool = False,
        renormalize: Renormalize = "if_k>1",
        router_temperature: float = 1.0,
        router_dropout: float = 0.1,
        dropout: float = 0.2,
        drop_path: float = 0.3,
        norm: NormKind = "rms",
        embedding_norm: EmbeddingNorm = "layer",
        bias: bool = False,
        rope_theta: float = 10000.0,
        qk_norm: bool = False,
        head_gate: bool = False,
        causal: bool = False,
        head: HeadKind = "linear",
        unpatch: Literal["conv", "linear"] = "conv",
        head_dropout: float = 0.0,
        instance_norm: bool = True,
        balance: LoadBalance | None = None,
        dynamic_window: bool = True,
        loss_region: LossRegion = "all",
    ) -> None:
        super().__init__(
            context_length,
            patch_width,
            width_factor,
            dynamic_window=dynamic_window,
            loss_region=loss_region,
        )
        sizes = per_layer(segment_sizes, num_layers)
        if balance is None:
            balance = LoadBalance(0.02, normalization="one", scope="model")
        self.instance_norm = instance_norm
        self.embedding = PatchEmbedding(patch_width, dim, norm=embedding_norm, dropout=dropout)
        blocks = (
            MixtureBlock(
                dim,
                GroupedQueryAttention(
                    dim,
                    num_heads,
                    num_kv_heads,
                    rotary=InterleavedRotary(dim // num_heads, rope_theta) if rope_theta else None,
                    out_bias=bias,
                    qk_norm=qk_norm,
                    head_gate=head_gate,
                    dropout=dropout,
                    causal=causal,
                ),
                segment_mixture(
                    dim,
                    hidden_dim,
                    size,
                    num_experts=num_experts,
                    top_k=top_k,
                    granularity=expert_granularity,
                    shared=shared_expert,
                    glu=glu,
                    bias=bias,
                    dropout=dropout,
                    router_dropout=router_dropout,
                    temperature=router_temperature,
                    renormalize=renormalize,
                    balance=balance,
                ),
                norm=norm,
                drop_path=drop_path * depth / max(1, num_layers - 1),
            )
            for depth, size in enumerate(sizes)
        )
        self.add_module("blocks", nn.ModuleList(blocks))
        self.norm = make_norm(norm, dim, alpha=MIXTURE_ALPHA)
        self.head = make_head(
            head,
            unpatch,
            patch_width=patch_width,
            dim=dim,
            hidden_dim=hidden_dim,
            length=context_length,
            dropout=head_dropout,
            bias=bias,
        )

    def forward(
        self,
        x: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features time"] | None = None,
    ) -> Float[Tensor, "batch variates out"]:
        """The window `target_length` points later; calendar features are not looked at.

        Raises:
            InputError: when the window is longer than `context_length` or no multiple of a patch.
        """
        if x.shape[-1] > self.context_length:
            raise InputError(
                f"a window has at most {self.context_length} points, got {x.shape[-1]}; "
                "keep the newest ones"
            )
        statistics = WindowStatistics.of(x) if self.instance_norm else None
        series = x if statistics is None else statistics.normalise(x)
        tokens = self.embedding(series.flatten(0, 1))
        for block in self.blocks:
            tokens = block(tokens)
        y = self.head(self.norm(tokens)).unflatten(0, x.shape[:2])
        return y if statistics is None else statistics.restore(y)


def per_layer(sizes: int | Sequence[int], num_layers: int) -> list[int]:
    """One segment size per layer.

    Raises:
        InputError: when a list has another length.
    """
    if isinstance(sizes, int):
        return [sizes] * num_layers
    if len(sizes) != num_layers:
        raise InputError(
            f"segment_sizes needs one number for each of the {num_layers} layers, got {list(sizes)}"
        )
    return list(sizes)
