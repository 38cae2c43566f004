"""From patch tokens back to a series."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.dropout import Dropout
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.feed_forward import xavier_linear


def round_channels(channels: int, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `channels` that is not more than 10 % below it."""
    rounded = max(divisor, (channels + divisor // 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvUnpatcher(nn.Module):
    """A transposed convolution spreads each token over its patch; three more mix the points.

    The output has the length of the input series.
    """

    def __init__(
        self, patch_width: int, dim: int, *, dropout: float = 0.0, bias: bool = False
    ) -> None:
        super().__init__()
        if dim % 4:
            raise InputError(f"the convolutional head needs a dim divisible by 4, got {dim}")
        hidden = round_channels(dim // 4)
        width = min(max(patch_width // 2 - 1, 1), 7)
        width -= width % 2 == 0
        self.dropout = Dropout(dropout)
        self.spread = nn.ConvTranspose1d(dim, dim, patch_width, stride=patch_width, bias=False)
        self.depthwise = nn.Conv1d(dim, dim, width, padding=width // 2, groups=dim, bias=False)
        self.norm = nn.GroupNorm(1, dim)
        self.mix = nn.Conv1d(dim, hidden, 1, bias=bias)
        self.out = nn.Conv1d(hidden, 1, 1, bias=bias)
        for conv in (self.spread, self.depthwise, self.mix, self.out):
            nn.init.xavier_uniform_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, x: Float[Tensor, "series patches dim"]) -> Float[Tensor, "series time"]:
        """One point for every point of the patched series."""
        # Where the stride is the kernel, the transposed convolution is one matrix product.
        pieces = (self.dropout(x) @ self.spread.weight.flatten(1)).unflatten(-1, (x.shape[2], -1))
        spread = F.gelu(pieces).transpose(1, 2).flatten(2)
        mixed = F.gelu(self.mix(self.norm(self.depthwise(spread))))
        return self.out(mixed).squeeze(1)


class LinearUnpatcher(nn.Module):
    """One linear map from all tokens to `length` points.

    It keeps the newest `num_patches` tokens of a longer context and pads a shorter one with zeros
    on its oldest side.
    """

    def __init__(
        self,
        num_patches: int,
        dim: int,
        length: int,
        *,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.num_patches = num_patches
        self.dropout = Dropout(dropout)
        self.project = xavier_linear(num_patches * dim, length, bias)

    def forward(self, x: Float[Tensor, "series patches dim"]) -> Float[Tensor, "series time"]:
        """Always `length` points, whatever the number of patches."""
        x = x[:, -self.num_patches :]
        if x.shape[1] < self.num_patches:
            missing = self.num_patches - x.shape[1]
            x = torch.cat((x.new_zeros(x.shape[0], missing, x.shape[2]), x), 1)
        return self.project(self.dropout(x.flatten(1)))
