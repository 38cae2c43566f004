"""Seg-MoE's layer: a mixture of experts in which a segment of tokens decides as one."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core import (
    GLUExperts,
    LinearScore,
    LoadBalance,
    MLPExperts,
    MoELayer,
    Router,
    SegmentUnits,
    SharedExpert,
    TokenUnits,
    TopK,
)
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.feed_forward import (
    FeedForwardKind,
    make_feed_forward,
    xavier_linear,
)

Granularity = Literal["token", "segment", "projected"]
Renormalize = Literal["never", "always", "if_k>1"]


def segment_mixture(
    dim: int,
    hidden_dim: int,
    segment_size: int,
    *,
    num_experts: int = 4,
    top_k: int = 1,
    granularity: Granularity = "token",
    shared: FeedForwardKind | None = "mlp",
    glu: bool = False,
    bias: bool = False,
    dropout: float = 0.0,
    router_dropout: float = 0.0,
    temperature: float = 1.0,
    renormalize: Renormalize = "if_k>1",
    balance: LoadBalance | None = None,
) -> nn.Module:
    """A feed-forward layer (batch, tokens, dim) -> (batch, tokens, dim) with experts per segment.

    Args:
        dim: width of a token.
        hidden_dim: width inside an expert, per token.
        segment_size: tokens that decide together; 1 is an ordinary mixture.
        num_experts: routed experts; with 0 the layer is a plain feed-forward network.
        top_k: experts per segment.
        granularity: what an expert sees: each token of its segments alone (the released model), the
            flattened segment, or a projection of the segment to `dim`.
        shared: kind of the expert that always works, on flattened segments, behind a sigmoid gate.
        glu: whether experts are gated.
        bias: whether experts have offsets.
        dropout: inside experts.
        router_dropout: on the router's probabilities, in training.
        temperature: of the router's softmax.
        renormalize: when the weights of the chosen experts are made to sum to 1. "always" gives a
            top-1 router no gradient from the task; the first release did that.
        balance: auxiliary loss.

    Raises:
        InputError: for sizes that do not fit.
    """
    if segment_size < 1:
        raise InputError(f"a segment has at least one token, got {segment_size}")
    if granularity not in ("token", "segment", "projected"):
        raise InputError(
            f"expert_granularity must be 'token', 'segment' or 'projected', got {granularity!r}"
        )
    if num_experts == 0:
        if shared is None:
            raise InputError("without experts the layer needs a shared network; name its kind")
        return make_feed_forward(shared, dim, hidden_dim, glu=glu, dropout=dropout, bias=bias)
    if not 1 <= top_k <= num_experts:
        raise InputError(
            f"top_k must be between 1 and num_experts ({num_experts}), got {top_k}; "
            "lower top_k or add experts"
        )
    projected = granularity == "projected" and segment_size > 1
    view_dim = dim if projected else segment_size * dim
    view_hidden = hidden_dim if projected else segment_size * hidden_dim
    expert_dim, expert_hidden = (
        (view_dim, view_hidden) if granularity == "segment" else (dim, hidden_dim)
    )
    score = LinearScore(view_dim, num_experts)
    nn.init.xavier_uniform_(score.weight)
    units = TokenUnits()
    if segment_size > 1 and not projected:
        rows = "unit" if granularity == "segment" else "row"
        units = SegmentUnits(segment_size, pool="flatten", granularity=rows)
    expert = None
    if shared is not None:
        network = make_feed_forward(
            shared, view_dim, view_hidden, glu=glu, dropout=dropout, bias=bias
        )
        if shared == "dwconv":
            size = 1 if projected else segment_size
            expert = SharedExpert(SegmentSequence(network, view_dim, size), view="input")
        else:
            expert = SharedExpert(network, gate_dim=view_dim, view="unit")
    layer = MoELayer(
        Router(
            score,
            TopK(top_k, renormalize=renormalize, floor=1e-6),
            temperature=temperature,
            dropout=router_dropout,
        ),
        (GLUExperts if glu else MLPExperts)(
            num_experts, expert_dim, expert_hidden, bias=bias, dropout=dropout
        ),
        shared=expert,
        losses=() if balance is None else (balance,),
        units=units,
    )
    return ProjectedSegments(layer, dim, segment_size, bias=bias) if projected else layer


class ProjectedSegments(nn.Module):
    """A mixture whose tokens are whole segments, projected to one token's width and back."""

    def __init__(self, mixture: MoELayer, dim: int, size: int, *, bias: bool = False) -> None:
        super().__init__()
        self.size = size
        self.in_proj = xavier_linear(size * dim, dim, bias)
        self.mixture = mixture
        self.out_proj = xavier_linear(dim, size * dim, bias)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Segments in, segments out."""
        segments = to_segments(x, self.size)
        return to_tokens(self.out_proj(self.mixture(self.in_proj(segments))), x.shape[1], self.size)


class SegmentSequence(nn.Module):
    """A gated network that needs the order of the segments: a convolution along them."""

    def __init__(self, network: nn.Module, dim: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.network = network
        self.gate = xavier_linear(dim, 1, bias=False)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """The sigmoid gate of each segment times its output."""
        segments = to_segments(x, self.size)
        y = self.network(segments) * torch.sigmoid(self.gate(segments))
        return to_tokens(y, x.shape[1], self.size)


def to_segments(
    x: Float[Tensor, "batch tokens dim"], size: int
) -> Float[Tensor, "batch segments wide"]:
    """Neighbouring tokens flattened together, zeros on the right up to a whole segment."""
    padded = F.pad(x, (0, 0, 0, -x.shape[1] % size))
    return padded.reshape(x.shape[0], -1, size * x.shape[2])


def to_tokens(
    y: Float[Tensor, "batch segments wide"], tokens: int, size: int
) -> Float[Tensor, "batch tokens dim"]:
    """The inverse of `to_segments`."""
    return y.reshape(y.shape[0], -1, y.shape[2] // size)[:, :tokens]
