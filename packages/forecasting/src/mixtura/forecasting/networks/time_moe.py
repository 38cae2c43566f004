"""Time-MoE: a decoder on single points, with heads for several horizons."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mixtura.core import (
    GLUExperts,
    LinearScore,
    LoadBalance,
    MoELayer,
    Router,
    SharedExpert,
    TopK,
    configurable,
)
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.attention import GroupedQueryAttention
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.networks.decoder import (
    DecoderBlock,
    PointEmbedding,
    View,
    causal_mask,
    segment_view,
)
from mixtura.forecasting.networks.feed_forward import GatedFeedForward
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.key_value_cache import KeyValueCache
from mixtura.forecasting.networks.norms import RMSNorm
from mixtura.forecasting.networks.rotary import HalfSplitRotary
from mixtura.forecasting.networks.schedule import head_schedule

POINTS_AT_ONCE = 2048


@configurable
class TimeMoE(ForecastNetwork):
    """Univariate, decoder-only; every variate is a series of its own.

    The defaults are those of the released 50M model; its weights load through
    `mixtura.forecasting.checkpoints`.

    Reference: Shi et al., Time-MoE, ICLR 2025 (arXiv 2409.16040).

    Args:
        dim: width of a token.
        hidden_dim: width inside the shared expert; a routed one has a k-th of it.
        num_layers: decoder blocks.
        num_heads: query heads.
        num_kv_heads: key and value heads, `num_heads` if not given.
        num_experts: routed experts per block.
        top_k: experts per token; their weights are not made to sum to 1.
        dense: one feed-forward network per block instead of experts.
        horizons: points that each head predicts. Of what is left of a forecast and too short for
            the smallest, that one is cut off.
        context_length: points that the model was trained to look at, forecast included.
        eps: of the normalisations.
        rope_theta: base of the rotary positions.
        activation: of the gates of the embedding and of all networks.
        attention_dropout: of attention probabilities, in training.
        init_std: standard deviation of all initial linear weights.
        balance: load-balance loss; weight 0.02 in the form of the released code if not given.
        context_norm: whether forecasts normalise each window by its own mean and scale ("window"),
            or take the data as they are scaled ("none", the published evaluation).
        overshoot: let the last step of a forecast use a larger head and cut it off.
    """

    reads_missing = "before"
    differentiable = False

    def __init__(
        self,
        dim: int = 384,
        hidden_dim: int = 1536,
        num_layers: int = 12,
        num_heads: int = 12,
        num_kv_heads: int | None = None,
        num_experts: int = 8,
        top_k: int = 2,
        dense: bool = False,
        horizons: list[int] | None = None,
        context_length: int = 4096,
        eps: float = 1e-6,
        rope_theta: float = 10000.0,
        activation: str = "silu",
        attention_dropout: float = 0.0,
        init_std: float = 0.02,
        balance: LoadBalance | None = None,
        context_norm: str = "none",
        overshoot: bool = False,
    ) -> None:
        super().__init__()
        if context_norm not in ("none", "window"):
            raise InputError(f"context_norm must be 'none' or 'window', got {context_norm!r}")
        if not dense and not 1 <= top_k <= num_experts:
            raise InputError(
                f"top_k must be between 1 and num_experts ({num_experts}), got {top_k}; "
                "lower top_k or add experts"
            )
        self.horizons = [1, 8, 32, 64] if horizons is None else list(horizons)
        if not self.horizons or min(self.horizons) < 1:
            raise InputError(f"horizons must be at least one number from 1, got {self.horizons}")
        if len(set(self.horizons)) < len(self.horizons):
            raise InputError(f"horizons must differ from each other, got {self.horizons}")
        self.context_length, self.target_length = context_length, 1
        self.context_norm, self.overshoot = context_norm, overshoot
        if balance is None:
            balance = LoadBalance(0.02, normalization="k", scope="model")
        self.embedding = PointEmbedding(dim, activation)
        self.blocks = nn.ModuleList()
        for _ in range(num_layers):
            attention = GroupedQueryAttention(
                dim,
                num_heads,
                num_kv_heads,
                rotary=HalfSplitRotary(dim // num_heads, rope_theta),
                dropout=attention_dropout,
                causal=True,
            )
            mixture: nn.Module = GatedFeedForward(dim, hidden_dim, activation=activation)
            if not dense:
                mixture = MoELayer(
                    Router(LinearScore(dim, num_experts), TopK(top_k, renormalize="never")),
                    GLUExperts(num_experts, dim, hidden_dim // top_k, activation=activation),
                    shared=SharedExpert(mixture, gate_dim=dim, view="row"),
                    losses=(balance,),
                )
            self.blocks.append(DecoderBlock(dim, attention, mixture, eps))
        self.norm = RMSNorm(dim, eps)
        self.heads = nn.ModuleList(nn.Linear(dim, h, bias=False) for h in self.horizons)
        for parameter in self.parameters():
            if parameter.ndim >= 2:
                nn.init.normal_(parameter, std=init_std)

    def hidden(
        self,
        x: Float[Tensor, "series time"],
        *,
        mask: Bool[Tensor, "series all"] | None = None,
        positions: Int[Tensor, "*series time"] | None = None,
        cache: KeyValueCache | None = None,
        segments: Int[Tensor, "series time"] | None = None,
        last: bool = False,
    ) -> Float[Tensor, "series out dim"]:
        """What the heads look at.

        Args:
            x: scaled values.
            mask: points that are real, those in the cache included; padding is on the left.
            positions: of the points, 0, 1, ... if not given.
            cache: keys and values of earlier points, extended in place.
            segments: of packed sequences, the number of each point's sequence, -1 for padding:
                no sequence sees another. Instead of `mask`, `positions` and `cache`.
            last: only for the last point, which costs the last block next to nothing.
        """
        tokens = self.embedding(x)
        if segments is not None:
            view = segment_view(segments)
        else:
            view = self._view(x, mask, positions, cache)
        for layer, block in enumerate(self.blocks):
            tokens = block(tokens, view, layer, last and layer == len(self.blocks) - 1)
        if cache is not None:
            cache.advance(x.shape[1])
        return self.norm(tokens[:, -1:] if last else tokens)

    def _view(
        self,
        x: Float[Tensor, "series time"],
        mask: Bool[Tensor, "series all"] | None,
        positions: Int[Tensor, "*series time"] | None,
        cache: KeyValueCache | None,
    ) -> View:
        before = 0 if cache is None else cache.length
        visible = None
        if positions is None:
            positions = torch.arange(before, before + x.shape[1], device=x.device)
        if mask is not None or before:
            visible = causal_mask(before, x.shape[1], mask, x.device).expand(len(x), 1, -1, -1)
        return View(visible, positions, None if mask is None else mask[:, before:], cache)

    def forward(
        self,
        x: Float[Tensor, "series time"],
        mask: Bool[Tensor, "series time"] | None = None,
        segments: Int[Tensor, "series time"] | None = None,
    ) -> dict[int, Float[Tensor, "series time horizon"]]:
        """Each head's prediction of the points after every point, by its horizon.

        Args:
            x: scaled values.
            mask: points that are real; padding is on the left.
            segments: number of each point's sequence where several are packed, -1 for padding.
        """
        hidden = self.hidden(x, mask=mask, segments=segments)
        return {h: head(hidden) for h, head in zip(self.horizons, self.heads, strict=True)}

    def supervise(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None = None,
    ) -> tuple[Float[Tensor, "batch variates out"], Float[Tensor, "batch variates out"]]:
        """What every head predicts after every point of past and future, and what came."""
        pairs = self._pairs(past, future)
        predictions, targets = zip(*pairs, strict=True)
        shape = (*past.shape[:2], -1)
        return (
            torch.cat([each.flatten(1) for each in predictions], 1).view(shape),
            torch.cat([each.flatten(1) for each in targets], 1).view(shape),
        )

    def training_loss(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
        marks: Float[Tensor, "batch features all"] | None,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[Tensor, ""]:
        """The mean over the heads of `loss` after every point of past and future."""
        return torch.stack([loss(*pair) for pair in self._pairs(past, future)]).mean()

    def _pairs(
        self,
        past: Float[Tensor, "batch variates time"],
        future: Float[Tensor, "batch variates target"],
    ) -> list[tuple[Tensor, Tensor]]:
        """Prediction and target of each head that fits: (series, points, horizon)."""
        series = torch.cat((past, future), -1).flatten(0, 1)
        shortest = min(self.horizons) + 1
        if series.shape[1] < shortest:
            raise InputError(
                f"training needs {shortest} points of a series, got {series.shape[1]}; "
                "give longer windows"
            )
        predictions = self(series[:, :-1])
        pairs = []
        for h, prediction in predictions.items():
            points = series.shape[1] - h
            if points > 0:
                pairs.append((prediction[:, :points], series[:, 1:].unfold(1, h, 1)))
        return pairs

    @torch.no_grad()
    def generate(
        self,
        x: Float[Tensor, "series time"],
        horizon: int,
        *,
        mask: Bool[Tensor, "series time"] | None = None,
        use_cache: bool = True,
        overshoot: bool = False,
    ) -> Float[Tensor, "series horizon"]:
        """The points after the series, the largest fitting head first.

        On a CPU a few series at a time go through the network, however many there are: the memory
        stays the same, and what they need stays near the processor.

        Args:
            x: scaled values; not changed.
            horizon: number of points.
            mask: points that are real; padding is on the left.
            use_cache: keep keys and values instead of computing them anew in each step.
            overshoot: let the last step use a larger head and cut it off.
        """
        schedule = head_schedule(horizon, self.horizons, overshoot=overshoot)
        count = len(x) if x.device.type != "cpu" else max(1, POINTS_AT_ONCE // x.shape[1])
        masks = [None] * len(x) if mask is None else mask.split(count)
        parts = [
            self._generate(part, schedule, real, use_cache)[:, :horizon]
            for part, real in zip(x.split(count), masks, strict=False)
        ]
        return torch.cat(parts) if parts else x.new_empty(0, horizon)

    def _generate(
        self,
        x: Float[Tensor, "series time"],
        schedule: list[int],
        mask: Bool[Tensor, "series time"] | None,
        use_cache: bool,
    ) -> Float[Tensor, "series out"]:
        total = x.shape[1] + sum(schedule)
        cache = KeyValueCache(len(self.blocks), total) if use_cache else None
        known, series, new = mask, x, x
        for step in schedule:
            window = new if use_cache else series
            positions = None
            if known is not None:
                positions = (known.long().cumsum(-1) - 1).masked_fill(~known, 1)
                positions = positions[:, -window.shape[1] :]
            hidden = self.hidden(window, mask=known, positions=positions, cache=cache, last=True)
            new = self.heads[self.horizons.index(step)](hidden[:, -1])
            series = torch.cat((series, new), 1)
            if known is not None:
                known = torch.cat((known, known.new_ones(len(new), step)), 1)
        return series[:, x.shape[1] :]

    def _forecast(
        self,
        past: Float[Tensor, "batch variates time"],
        horizon: int,
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates horizon"]:
        window = past[..., -self.context_length :]
        statistics = WindowStatistics.of(window) if self.context_norm == "window" else None
        series = window if statistics is None else statistics.normalise(window)
        series, known = series.nan_to_num().flatten(0, 1), ~window.isnan().flatten(0, 1)
        mask = None if bool(known.all()) else known
        y = self.generate(series, horizon, mask=mask, overshoot=self.overshoot)
        y = y.unflatten(0, past.shape[:2])
        return y if statistics is None else statistics.restore(y)
