"""PatchTST: overlapping patches of each variate, a Transformer encoder, a flat linear head."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import configurable
from mixtura.core.dropout import Dropout
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.base import DirectNetwork
from mixtura.forecasting.networks.instance_norm import WindowStatistics
from mixtura.forecasting.networks.post_norm_encoder import Activation, PostNormEncoderLayer
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
    ) -> None:
        super().__init__(context_length, horizon)
        if context_length < patch_width:
            raise InputError(
                f"context_length must be at least patch_width ({patch_width}), got {context_length}"
            )
        self.patch_width, self.stride = patch_width, stride
        self.embed = nn.Linear(patch_width, dim, bias=False)
        self.layers = nn.ModuleList(
            PostNormEncoderLayer(dim, num_heads, hidden_dim, dropout, activation)
            for _ in range(num_layers)
        )
        self.norm = nn.BatchNorm1d(dim)
        num_patches = (context_length - patch_width) // stride + 2
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
        tokens = self.dropout(tokens + sinusoids(tokens.shape[1], tokens))
        for layer in self.layers:
            tokens = layer(tokens)
        features = self.norm(tokens.transpose(1, 2))
        y = self.head_dropout(self.head(features.flatten(1)))
        return statistics.restore(y.unflatten(0, x.shape[:2]))
