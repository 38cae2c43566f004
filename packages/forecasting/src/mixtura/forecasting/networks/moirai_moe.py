"""Moirai-MoE: a decoder on patches of any number of variates, with a mixture of distributions."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import (
    CentroidDistanceScore,
    GLUExperts,
    InputError,
    MoELayer,
    Router,
    TopK,
    configurable,
)
from mixtura.core.dropout import Dropout
from mixtura.core.scores.centroid_distance import DistanceMode
from mixtura.forecasting.networks.any_variate_attention import AnyVariateAttention
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.distributions import MixtureDistribution, MixtureHead
from mixtura.forecasting.networks.evaluation import evaluating
from mixtura.forecasting.networks.norms import RMSNorm
from mixtura.forecasting.networks.packed_series import (
    PackedSeries,
    pack_windows,
    packed_statistics,
)
from mixtura.forecasting.networks.sized_linear import SizedLinear

__all__ = ["MoiraiMoE"]

COMPONENTS = ("student_t", "normal_fixed_scale(0.001)", "negative_binomial", "log_normal")
HEAD_DIM = 64


class AnyVariateBlock(nn.Module):
    """Pre-norm attention, then a mixture of experts; padding tokens are not routed."""

    def __init__(
        self, dim: int, attention: AnyVariateAttention, mixture: MoELayer, dropout: float
    ) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(dim, 1e-5)
        self.attention = attention
        self.mixture_norm = RMSNorm(dim, 1e-5)
        self.mixture = mixture
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        visible: Bool[Tensor, "batch tokens tokens"],
        same_variate: Bool[Tensor, "batch tokens tokens"],
        time_id: Int[Tensor, "batch tokens"],
        real: Bool[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch tokens dim"]:
        """Tokens after this block."""
        h = self.attention(self.attention_norm(x), visible, same_variate, time_id)
        x = x + self.dropout(h)
        return x + self.dropout(self.mixture(self.mixture_norm(x), mask=real))


@configurable
class MoiraiMoE(ForecastNetwork):
    """Probabilistic, any number of variates, missing values as they are (NaN in the look-back).

    Experts are chosen by the distance of a token to fixed centroids of a pretrained model's
    tokens. A released checkpoint loads through `mixtura.forecasting.checkpoints`; its centroids
    choose the farthest, `distance_mode="largest"`. The defaults are those of the small model.

    Reference: Liu et al., Moirai-MoE: empowering time series foundation models with sparse mixture
    of experts, 2024 (arXiv 2410.10469).

    Args:
        context_length: longest look-back of a forecast.
        patch_sizes: patch widths that the projections know.
        dim: width of a token; one attention head for every 64 of it, begun ones not counted.
        hidden_dim: width inside an expert.
        num_layers: blocks.
        num_experts: experts per block.
        top_k: experts per token.
        distance_mode: whether the nearest or the farthest centroids are chosen.
        components: distributions that are mixed: student_t, normal, normal_fixed_scale(0.001),
            negative_binomial, log_normal.
        scaling: normalise each variate by its own mean and scale.
        num_samples: paths that a forecast draws; it is their median.
        seed: of the paths of a forecast.
        attention_dropout: of attention probabilities, in training.
        dropout: behind attention and experts, in training.
    """

    blocks: Sequence[AnyVariateBlock]

    reads_missing = "any"
    probabilistic = True
    samples = True
    differentiable = False

    def __init__(
        self,
        context_length: int = 4000,
        patch_sizes: list[int] | None = None,
        dim: int = 384,
        hidden_dim: int = 512,
        num_layers: int = 6,
        num_experts: int = 32,
        top_k: int = 2,
        distance_mode: DistanceMode = "largest",
        components: list[str] | None = None,
        scaling: bool = True,
        num_samples: int = 100,
        seed: int = 0,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = [16] if patch_sizes is None else list(patch_sizes)
        if not sizes or min(sizes) < 1:
            raise InputError(f"patch_sizes must be positive widths, got {sizes}")
        if not 1 <= top_k <= num_experts:
            raise InputError(
                f"top_k must be between 1 and num_experts ({num_experts}), got {top_k}; "
                "lower top_k or add experts"
            )
        if num_samples < 1:
            raise InputError(f"num_samples must be at least 1, got {num_samples}")
        self.context_length = context_length
        self.patch_sizes, self.patch_width = sizes, max(sizes)
        self.target_length = self.patch_width
        self.scaling, self.num_samples, self.seed = scaling, num_samples, seed
        self.in_proj = SizedLinear(sizes, None, dim)
        self.res_proj = SizedLinear(sizes, None, dim)
        self.feat_proj = SizedLinear(sizes, dim, dim)
        num_heads = max(1, dim // HEAD_DIM)
        blocks = (
            AnyVariateBlock(
                dim,
                AnyVariateAttention(dim, num_heads, dropout=attention_dropout),
                MoELayer(
                    Router(
                        CentroidDistanceScore(dim, num_experts, distance_mode=distance_mode),
                        TopK(top_k, renormalize="softmax"),
                        activation="identity",
                    ),
                    GLUExperts(num_experts, dim, hidden_dim),
                ),
                dropout,
            )
            for _ in range(num_layers)
        )
        self.add_module("blocks", nn.ModuleList(blocks))
        self.norm = RMSNorm(dim, 1e-5)
        self.head = MixtureHead(dim, sizes, COMPONENTS if components is None else components)

    def statistics(
        self, packed: PackedSeries
    ) -> tuple[Float[Tensor, "batch tokens 1"], Float[Tensor, "batch tokens 1"]]:
        """What each token is shifted and divided by."""
        if self.scaling:
            return packed_statistics(packed)
        zero = torch.zeros_like(packed.target[..., :1])
        return zero, torch.ones_like(zero)

    def hidden(
        self,
        packed: PackedSeries,
        patch_size: Int[Tensor, "batch tokens"] | int | None = None,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """What the head looks at.

        Args:
            packed: the tokens.
            patch_size: width of each token, the largest known one if not given.
            statistics: shift and scale; of the packed series' own past if not given.
        """
        size = self.patch_width if patch_size is None else patch_size
        loc, scale = self.statistics(packed) if statistics is None else statistics
        z = (packed.target - loc) / scale
        x = self.feat_proj(F.silu(self.in_proj(z, size)), size) + self.res_proj(z, size)
        sample, time, variate = packed.sample_id, packed.time_id, packed.variate_id
        visible = (sample.unsqueeze(-1) == sample.unsqueeze(-2)) & (
            time.unsqueeze(-2) <= time.unsqueeze(-1)
        )
        same_variate = variate.unsqueeze(-1) == variate.unsqueeze(-2)
        real = sample > 0
        for block in self.blocks:
            x = block(x, visible, same_variate, time, real)
        return self.norm(x)

    def forward(
        self,
        packed: PackedSeries,
        patch_size: Int[Tensor, "batch tokens"] | int | None = None,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> MixtureDistribution:
        """The distribution of the patch after every token."""
        loc, scale = self.statistics(packed) if statistics is None else statistics
        hidden = self.hidden(packed, patch_size, (loc, scale))
        size = self.patch_width if patch_size is None else patch_size
        return self.head(hidden, size, loc, scale)

    @torch.no_grad()
    def sample(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        num_samples: int | None = None,
        *,
        patch_width: int | None = None,
        generator: torch.Generator | None = None,
        known: Float[Tensor, "batch covariates all"] | None = None,
        past_only: Float[Tensor, "batch features time"] | None = None,
    ) -> Float[Tensor, "samples batch variates horizon"]:
        """Paths of the future: each patch is drawn given the patches drawn before it.

        What was drawn counts for the scale of the patches after it, as in the released code.

        Args:
            past: the look-back; NaN where a value is missing; not changed.
            horizon: number of points.
            num_samples: number of paths, the model's own if not given.
            patch_width: width of the patches, the largest known one if not given.
            generator: of the draws.
            known: covariates of the look-back and the horizon, as further variates.
            past_only: covariates of the look-back.
        """
        count = self.num_samples if num_samples is None else num_samples
        width = self.patch_width if patch_width is None else patch_width
        cut = max(0, past.shape[-1] - self.context_length)
        packed = pack_windows(
            past[..., cut:],
            horizon,
            width,
            max_patch_width=self.patch_width,
            known=None if known is None else known[..., cut:],
            past_only=None if past_only is None else past_only[..., cut:],
        )
        variates, steps = past.shape[1], math.ceil(horizon / width)
        context = math.ceil((past.shape[-1] - cut) / width)
        place = torch.arange(variates, device=past.device) * context + context - 1
        drawn = self._following(packed, width, place).sample(count, generator)
        tiled = PackedSeries(*(part.repeat(count, *[1] * (part.ndim - 1)) for part in packed))
        place = torch.arange(variates, device=past.device) * steps + variates * context
        tiled.target[:, place] = drawn.flatten(0, 1)
        for _ in range(steps - 1):
            tiled.future[:, place] = False
            following = self._following(tiled, width, place)
            place = place + 1
            tiled.target[:, place] = following.sample(1, generator)[0]
        begin, end = variates * context, variates * (context + steps)
        paths = tiled.target[:, begin:end, :width].unflatten(1, (variates, steps))
        return paths.flatten(2)[..., :horizon].unflatten(0, (count, -1))

    def _following(
        self, packed: PackedSeries, width: int, place: Int[Tensor, " chosen"]
    ) -> MixtureDistribution:
        """The distribution of the patch after each of the chosen tokens."""
        loc, scale = self.statistics(packed)
        hidden = self.hidden(packed, width, (loc, scale))[:, place]
        return self.head(hidden, width, loc[:, place], scale[:, place])

    def forecast_quantiles(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        levels: list[float],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> Float[Tensor, "levels batch variates horizon"]:
        """Quantiles of the sampled paths at every step."""
        with evaluating(self):
            paths = self._paths(past, horizon)
        return torch.quantile(paths, paths.new_tensor(levels), dim=0)

    def forecast_samples(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        count: int,
        marks: Float[Tensor, "batch features all"] | None = None,
        seed: int = 0,
    ) -> Float[Tensor, "samples batch variates horizon"]:
        """`count` paths, without changing the mode."""
        with evaluating(self):
            generator = torch.Generator(past.device).manual_seed(seed)
            return self.sample(past, horizon, count, generator=generator)

    def training_loss(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Float[Tensor, ""]:
        """The negative log-likelihood, in place of a loss of point forecasts."""
        return self.negative_log_likelihood(past, future)

    def negative_log_likelihood(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates horizon"],
    ) -> Float[Tensor, ""]:
        """Mean over all observed values that follow a token, those of the look-back included."""
        packed = pack_windows(past, future.shape[-1], self.patch_width, future=future)
        steps = math.ceil(future.shape[-1] / self.patch_width)
        following = _next_token(packed.target, past.shape[1], steps)
        counted = _next_token(packed.observed, past.shape[1], steps)
        counted &= (packed.sample_id > 0).unsqueeze(-1)
        return -self(packed).log_prob(following)[counted].mean()

    def _paths(
        self, past: Float[Tensor, "batch variates time"], horizon: int
    ) -> Float[Tensor, "samples batch variates horizon"]:
        generator = torch.Generator(past.device).manual_seed(self.seed)
        return self.sample(past, horizon, generator=generator)

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        return self._paths(past, horizon).median(0).values


def _next_token(
    x: Shaped[Tensor, "batch tokens patch"], variates: int, steps: int
) -> Shaped[Tensor, "batch tokens patch"]:
    """What follows each token in its own variate; zeros behind the last one."""
    first = x.shape[1] - variates * steps
    past, future = x[:, :first], x[:, first:]
    series = torch.cat((past.unflatten(1, (variates, -1)), future.unflatten(1, (variates, -1))), 2)
    following = torch.cat((series[:, :, 1:], torch.zeros_like(series[:, :, :1])), 2)
    past, future = following[:, :, :-steps], following[:, :, -steps:]
    return torch.cat((past.flatten(1, 2), future.flatten(1, 2)), 1)
