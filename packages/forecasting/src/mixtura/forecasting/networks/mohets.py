"""MoHETS: heterogeneous experts, and cross-attention to calendar covariates."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import LoadBalance, configurable
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.attention import GroupedQueryAttention
from mixtura.forecasting.networks.covariates import CALENDAR, CovariateEmbedding
from mixtura.forecasting.networks.heads import HeadKind, make_head
from mixtura.forecasting.networks.heterogeneous_mixture import (
    ExpertKind,
    SharedKind,
    heterogeneous_mixture,
)
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.mixture_block import MIXTURE_ALPHA, MixtureBlock
from mixtura.forecasting.networks.norms import NormKind, make_norm
from mixtura.forecasting.networks.patching import EmbeddingNorm, PatchEmbedding
from mixtura.forecasting.networks.rotary import InterleavedRotary
from mixtura.forecasting.networks.sinusoids import sinusoids
from mixtura.forecasting.networks.sliding import LossRegion, SlidingNetwork


@configurable
class MoHETS(SlidingNetwork):
    """A patch Transformer whose routed experts are Fourier networks, beside a shared convolution.

    Without covariates the cross-attention is skipped.

    Reference: MoHETS, mixture of heterogeneous experts for time series (arXiv 2601.21866).

    Args:
        context_length: look-back L, a multiple of `patch_width`.
        num_variates: variates of the data; fixed by the covariates' weights.
        patch_width: points of a patch.
        width_factor: points predicted per pass, in patches.
        num_layers: Transformer blocks.
        dim: width of a token.
        num_heads: query heads.
        num_kv_heads: key and value heads, `num_heads` if not given.
        hidden_dim: width inside an expert.
        num_experts: routed experts per block, 0 for the shared network alone.
        top_k: experts per token.
        experts: kind of the routed experts, the same for all or one each.
        shared_expert: kind of the expert that always works.
        glu: whether experts are gated.
        covariates: whether there is cross-attention to covariates.
        num_covariates: how many; 5 calendar features, of which hourly data gives 4.
        dropout: in embeddings, attention and experts.
        drop_path: stochastic depth of the last block, growing linearly from 0.
        norm: normalisation of the blocks: "rms", "layer" or "dyt", a dynamic tanh.
        embedding_norm: normalisation of the patch embeddings.
        bias: whether output projections, experts and heads have offsets.
        rope_theta: base of the rotary positions; with 0 fixed sinusoids are added to the tokens.
        qk_norm: normalise queries and keys.
        head_gate: gate each attention head.
        causal: whether a patch sees only itself and earlier ones; a pass then predicts one patch,
            whatever `width_factor` says.
        head: the network between the last block and the un-patching.
        unpatch: how tokens become points.
        head_dropout: before the un-patching.
        instance_norm: normalise each window by its own mean and scale.
        balance: load-balance loss; weight 0.02 in the form of Time-MoE if not given.
        dynamic_window: let a short window grow during a forecast.
        loss_region: output points that training looks at.
    """

    blocks: Sequence[MixtureBlock]

    def __init__(
        self,
        context_length: int = 672,
        num_variates: int = 7,
        patch_width: int = 16,
        width_factor: float = 1.5,
        num_layers: int = 4,
        dim: int = 128,
        num_heads: int = 4,
        num_kv_heads: int | None = 2,
        hidden_dim: int = 256,
        num_experts: int = 8,
        top_k: int = 2,
        experts: ExpertKind | list[ExpertKind] = "fan",
        shared_expert: SharedKind = "dwconv",
        glu: bool = False,
        covariates: bool = True,
        num_covariates: int = CALENDAR,
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
        dynamic_window: bool = False,
        loss_region: LossRegion = "all",
    ) -> None:
        super().__init__(
            context_length,
            patch_width,
            1.0 if causal else width_factor,
            dynamic_window=dynamic_window,
            loss_region=loss_region,
        )
        if balance is None:
            balance = LoadBalance(0.02, normalization="k", scope="model")
        self.num_variates = num_variates
        self.looks_at_marks = covariates
        self.added_positions = not rope_theta
        self.instance_norm = instance_norm
        self.embedding = PatchEmbedding(patch_width, dim, norm=embedding_norm, dropout=dropout)
        self.covariates = None
        if covariates:
            self.covariates = CovariateEmbedding(
                num_variates, num_covariates, patch_width, dim, norm=embedding_norm, dropout=dropout
            )

        def attention() -> GroupedQueryAttention:
            return GroupedQueryAttention(
                dim,
                num_heads,
                num_kv_heads,
                rotary=InterleavedRotary(dim // num_heads, rope_theta) if rope_theta else None,
                out_bias=bias,
                qk_norm=qk_norm,
                head_gate=head_gate,
                dropout=dropout,
            )

        blocks = nn.ModuleList()
        for depth in range(num_layers):
            own = attention()
            own.causal = causal
            blocks.append(
                MixtureBlock(
                    dim,
                    own,
                    heterogeneous_mixture(
                        dim,
                        hidden_dim,
                        num_experts=num_experts,
                        top_k=top_k,
                        experts=experts,
                        shared=shared_expert,
                        glu=glu,
                        bias=bias,
                        dropout=dropout,
                        balance=balance,
                    ),
                    cross_attention=attention() if covariates else None,
                    norm=norm,
                    drop_path=drop_path * depth / max(1, num_layers - 1),
                )
            )
        self.add_module("blocks", blocks)
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
        """The window `target_length` points later.

        Raises:
            InputError: when the window is too long, no multiple of a patch, or of other variates.
        """
        if x.shape[-1] > self.context_length:
            raise InputError(
                f"a window has at most {self.context_length} points, got {x.shape[-1]}; "
                "keep the newest ones"
            )
        statistics = WindowStatistics.of(x) if self.instance_norm else None
        series = x if statistics is None else statistics.normalise(x)
        context = None
        if self.covariates is not None and marks is not None:
            if x.shape[1] != self.num_variates:
                raise InputError(
                    f"with covariates the model takes {self.num_variates} variates, got "
                    f"{x.shape[1]}; leave the covariates out, or give the same variates"
                )
            context = self._placed(self.covariates(series, marks))
        tokens = self._placed(self.embedding(series.flatten(0, 1)))
        for block in self.blocks:
            tokens = block(tokens, context)
        y = self.head(self.norm(tokens)).unflatten(0, x.shape[:2])
        return y if statistics is None else statistics.restore(y)

    def _placed(
        self, tokens: Float[Tensor, "series patches dim"]
    ) -> Float[Tensor, "series patches dim"]:
        """The tokens with their positions, where the attention does not rotate by them."""
        return tokens + sinusoids(tokens.shape[1], tokens) if self.added_positions else tokens
