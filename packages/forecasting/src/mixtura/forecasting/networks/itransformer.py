"""iTransformer: each variate's whole window is one token."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core import configurable
from mixtura.core.dropout import Dropout
from mixtura.forecasting.networks.base import DirectNetwork
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.post_norm_encoder import Activation, PostNormEncoderLayer


@configurable
class ITransformer(DirectNetwork):
    """Attention between variates; calendar features of the look-back are further tokens.

    Reference: Liu et al., iTransformer, ICLR 2024 (arXiv 2310.06625).

    Args:
        context_length: look-back L.
        horizon: points predicted.
        num_layers: encoder layers.
        dim: width of a token.
        num_heads: attention heads.
        hidden_dim: width of the feed-forward networks.
        dropout: everywhere.
        activation: of the feed-forward networks.
    """

    looks_at_marks = True

    def __init__(
        self,
        context_length: int = 96,
        horizon: int = 96,
        num_layers: int = 2,
        dim: int = 512,
        num_heads: int = 8,
        hidden_dim: int = 512,
        dropout: float = 0.1,
        activation: Activation = "gelu",
    ) -> None:
        super().__init__(context_length, horizon)
        self.embed = nn.Linear(context_length, dim)
        self.layers = nn.ModuleList(
            PostNormEncoderLayer(dim, num_heads, hidden_dim, dropout, activation)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, horizon)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features time"] | None = None,
    ) -> Float[Tensor, "batch variates horizon"]:
        """The forecast of every variate, with or without calendar features of the look-back."""
        statistics = WindowStatistics.of(x)
        windows = statistics.normalise(x)
        if marks is not None:
            windows = torch.cat((windows, marks), 1)
        tokens = self.dropout(self.embed(windows))
        for layer in self.layers:
            tokens = layer(tokens)
        y = self.head(self.norm(tokens))[:, : x.shape[1]]
        return statistics.restore(y)

    def predict(
        self,
        past: Float[Tensor, "batch variates time"],
        marks: Float[Tensor, "batch features all"] | None,
    ) -> Float[Tensor, "batch variates target"]:
        """The whole horizon, with the calendar features of the look-back where they are given."""
        window = self.newest(past)
        if marks is not None:
            marks = marks[..., past.shape[-1] - self.context_length : past.shape[-1]]
        return self(window, marks)
