"""Feed-forward networks: plain, gated, and behind a depthwise convolution."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.dropout import dropout
from mixtura.core.errors import InputError
from mixtura.core.experts.activations import activate_, activation_function

FeedForwardKind = Literal["mlp", "conv", "dwconv"]


class FeedForward(nn.Module):
    """`down(dropout(gelu(up(x))))`."""

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        out_dim: int | None = None,
        *,
        dropout: float = 0.0,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.up = xavier_linear(dim, hidden_dim, bias)
        self.down = xavier_linear(hidden_dim, dim if out_dim is None else out_dim, bias)

    def hidden(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch hidden"]:
        """The hidden activations."""
        return F.gelu(self.up(x))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """Acts on every token alone."""
        return self.down(dropout(self.hidden(x), self.dropout, self.training))


class GatedFeedForward(FeedForward):
    """`down(dropout(activation(up(x)) * gate(x)))`, with SiLU if no other is named.

    Reference: Shazeer, GLU variants improve Transformer, 2020 (arXiv 2002.05202).
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        out_dim: int | None = None,
        *,
        dropout: float = 0.0,
        bias: bool = False,
        activation: str = "silu",
    ) -> None:
        super().__init__(dim, hidden_dim, out_dim, dropout=dropout, bias=bias)
        self.activation = activation
        self.gate = xavier_linear(dim, hidden_dim, bias)

    def hidden(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch hidden"]:
        """The gated hidden activations."""
        if torch.is_grad_enabled():
            return activation_function(self.activation)(self.up(x)) * self.gate(x)
        return activate_(self.activation, self.up(x)).mul_(self.gate(x))


class DepthwiseConvFeedForward(nn.Module):
    """A depthwise convolution of width 3 along the tokens, then a network on each token."""

    def __init__(self, dim: int, feed_forward: FeedForward, *, bias: bool = False) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 3, padding=1, groups=dim, bias=bias)
        self.feed_forward = feed_forward
        nn.init.xavier_uniform_(self.depthwise.weight)
        if self.depthwise.bias is not None:
            nn.init.zeros_(self.depthwise.bias)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens out"]:
        """Needs whole sequences, zero-padded at both ends."""
        return self.feed_forward(self.depthwise(x.transpose(1, 2)).transpose(1, 2))


def make_feed_forward(
    kind: FeedForwardKind,
    dim: int,
    hidden_dim: int,
    *,
    glu: bool = False,
    dropout: float = 0.0,
    bias: bool = False,
) -> nn.Module:
    """A feed-forward network by name; `conv` (width 1) is the plain one under another name.

    Raises:
        InputError: for an unknown kind.
    """
    if kind not in ("mlp", "conv", "dwconv"):
        raise InputError(f"feed-forward kind must be 'mlp', 'conv' or 'dwconv', got {kind!r}")
    network = (GatedFeedForward if glu else FeedForward)(
        dim, hidden_dim, dropout=dropout, bias=bias
    )
    return DepthwiseConvFeedForward(dim, network, bias=bias) if kind == "dwconv" else network


def xavier_linear(in_dim: int, out_dim: int, bias: bool) -> nn.Linear:
    """A linear layer with Xavier-uniform weights and zero biases."""
    linear = nn.Linear(in_dim, out_dim, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
    return linear
