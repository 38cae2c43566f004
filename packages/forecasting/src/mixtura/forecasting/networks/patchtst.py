"""PatchTST: overlapping patches of each variate, a Transformer encoder, a flat linear head."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.core.dropout import Dropout
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import DirectNetwork
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.post_norm_encoder import Activation, PostNormEncoderLayer
from mixtura.forecasting.networks.score_passing_encoder import ScorePassingEncoderLayer
from mixtura.forecasting.networks.sinusoids import sinusoids


@configurable
class PatchTST(DirectNetwork):
    """A channel-independent patch Transformer.

    Reference: Nie et al., A time series is worth 64 words, ICLR 2023 (arXiv 2211.14730).

    Args:
        context_length: look-back L.
        horizon: points predicted.
        patch_width: points in a patch.
        stride: points between the beginnings of two patches.
        num_layers: encoder layers.
        dim: width of a token.
        num_heads: attention heads.
        hidden_dim: width of the feed-forward networks.
        dropout: in the embedding and the encoder.
        head_dropout: on the forecast itself. The Time-Series-Library sets it to `dropout`, which
            pulls every forecast towards the mean of its window; 0 is the authors' value.
        activation: of the feed-forward networks.
        encoder: "library" is the Time-Series-Library's, with layer norms, fixed sinusoids as
            positions and one batch norm at the end; "authors" is that of the paper's own code, with
            batch norms, learnt positions and attention scores that are handed from layer to layer.
    """

    def __init__(
        self,
        context_length: int = 512,
        horizon: int = 96,
        patch_width: int = 16,
        stride: int = 8,
        num_layers: int = 3,
        dim: int = 128,
        num_heads: int = 16,
        hidden_dim: int = 256,
        dropout: float = 0.2,
        head_dropout: float = 0.0,
        activation: Activation = "gelu",
        encoder: Literal["library", "authors"] = "library",
    ) -> None:
        super().__init__(context_length, horizon)
        if context_length < patch_width:
            raise InputError(
                f"context_length must be at least patch_width ({patch_width}), got {context_length}"
            )
        if encoder not in ("library", "authors"):
            raise InputError(f"encoder must be 'library' or 'authors', got {encoder!r}")
        if encoder == "authors" and activation != "gelu":
            raise InputError(f"the authors' encoder has activation 'gelu', got {activation!r}")
        self.patch_width, self.stride, self.num_heads = patch_width, stride, num_heads
        num_patches = (context_length - patch_width) // stride + 2
        self.embed = nn.Linear(patch_width, dim, bias=encoder == "authors")
        self.positions: nn.Parameter | None = None
        self.norm: nn.Module = nn.Identity()
        if encoder == "authors":
            self.positions = nn.Parameter(torch.empty(num_patches, dim).uniform_(-0.02, 0.02))
            self.layers = nn.ModuleList(
                ScorePassingEncoderLayer(dim, num_heads, hidden_dim, dropout)
                for _ in range(num_layers)
            )
        else:
            self.layers = nn.ModuleList(
                PostNormEncoderLayer(dim, num_heads, hidden_dim, dropout, activation)
                for _ in range(num_layers)
            )
            self.norm = nn.BatchNorm1d(dim)
        self.head = nn.Linear(dim * num_patches, horizon)
        self.dropout = Dropout(dropout)
        self.head_dropout = Dropout(head_dropout)

    def forward(
        self, x: Float[Tensor, "batch variates time"]
    ) -> Float[Tensor, "batch variates horizon"]:
        """The forecast of every variate."""
        statistics = WindowStatistics.of(x)
        series = statistics.normalise(x).flatten(0, 1)
        padded = F.pad(series.unsqueeze(1), (0, self.stride), mode="replicate").squeeze(1)
        tokens = self.embed(padded.unfold(-1, self.patch_width, self.stride))
        positions = self.positions
        if positions is None:
            positions = sinusoids(tokens.shape[1], tokens)
        tokens = self.dropout(tokens + positions)
        scores = None
        for layer in self.layers:
            if isinstance(layer, ScorePassingEncoderLayer):
                tokens, scores = layer(tokens, scores)
            else:
                tokens = layer(tokens)
        features = self.norm(tokens.transpose(1, 2))
        y = self.head_dropout(self.head(features.flatten(1)))
        return statistics.restore(y.unflatten(0, x.shape[:2]))
