"""From the last block's tokens to points: a small network, then the un-patching."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mixtura.core.errors import InputError
from mixtura.forecasting.networks.feed_forward import make_feed_forward, xavier_linear
from mixtura.forecasting.networks.fourier import FourierFeedForward, FourierLayer
from mixtura.forecasting.networks.unpatching import ConvUnpatcher, LinearUnpatcher

HeadKind = Literal["linear", "mlp", "conv", "dwconv", "fan", "fan_layer"]


class ForecastHead(nn.Module):
    """`unpatch(project(tokens))`."""

    def __init__(self, project: nn.Module, unpatch: nn.Module) -> None:
        super().__init__()
        self.project = project
        self.unpatch = unpatch

    def forward(self, x: Float[Tensor, "series patches dim"]) -> Float[Tensor, "series time"]:
        """Points of every series."""
        return self.unpatch(self.project(x))


def make_head(
    kind: HeadKind,
    unpatch: Literal["conv", "linear"],
    *,
    patch_width: int,
    dim: int,
    hidden_dim: int,
    length: int,
    dropout: float,
    bias: bool,
) -> ForecastHead:
    """A head by name: one linear or Fourier layer, or a feed-forward network of the given kind.

    Raises:
        InputError: for an unknown un-patching.
    """
    project: nn.Module
    if kind == "linear":
        project = xavier_linear(dim, dim, bias)
    elif kind == "fan_layer":
        project = FourierLayer(dim, dim, bias=bias, last=True)
    elif kind == "fan":
        project = FourierFeedForward(dim, hidden_dim, dropout=dropout, bias=bias)
    else:
        project = make_feed_forward(kind, dim, hidden_dim, dropout=dropout, bias=bias)
    if unpatch == "conv":
        return ForecastHead(project, ConvUnpatcher(patch_width, dim, dropout=dropout, bias=bias))
    if unpatch == "linear":
        return ForecastHead(
            project,
            LinearUnpatcher(length // patch_width, dim, length, dropout=dropout, bias=bias),
        )
    raise InputError(f"unpatch must be 'conv' or 'linear', got {unpatch!r}")
