"""MoHETS' layer: experts of different kinds beside a convolution that sees the whole sequence."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from mixtura.core import (
    Experts,
    GLUExperts,
    LinearScore,
    LoadBalance,
    MLPExperts,
    ModuleExperts,
    MoELayer,
    Router,
    SharedExpert,
    TopK,
)
from mixtura.core.errors import InputError
from mixtura.forecasting.networks.feed_forward import FeedForwardKind, make_feed_forward
from mixtura.forecasting.networks.fourier import FourierExperts, FourierFeedForward

ExpertKind = Literal["fan", "mlp"]
SharedKind = Literal["fan", "mlp", "conv", "dwconv"]


def heterogeneous_mixture(
    dim: int,
    hidden_dim: int,
    *,
    num_experts: int = 8,
    top_k: int = 2,
    experts: ExpertKind | Sequence[ExpertKind] = "fan",
    shared: SharedKind = "dwconv",
    glu: bool = False,
    bias: bool = False,
    dropout: float = 0.0,
    balance: LoadBalance | None = None,
) -> nn.Module:
    """A token-wise mixture (batch, tokens, dim) -> (batch, tokens, dim).

    Args:
        dim: width of a token.
        hidden_dim: width inside an expert.
        num_experts: routed experts; with 0 only the shared network works.
        top_k: experts per token; their weights are always made to sum to 1.
        experts: kind of the routed experts, the same for all or one each.
        shared: kind of the expert that always works, behind a sigmoid gate.
        glu: whether experts are gated.
        bias: whether they have offsets.
        dropout: inside experts.
        balance: auxiliary loss.

    Raises:
        InputError: for kinds and numbers that do not fit.
    """
    always = make_expert(shared, dim, hidden_dim, glu=glu, bias=bias, dropout=dropout)
    if num_experts == 0:
        return always
    if not 1 <= top_k <= num_experts:
        raise InputError(
            f"top_k must be between 1 and num_experts ({num_experts}), got {top_k}; "
            "lower top_k or add experts"
        )
    kinds: list[ExpertKind] = [experts] * num_experts if isinstance(experts, str) else list(experts)
    if len(kinds) != num_experts or not set(kinds) <= {"fan", "mlp"}:
        raise InputError(
            f"experts must be 'fan', 'mlp' or a list of {num_experts} of these, got {experts!r}"
        )
    score = LinearScore(dim, num_experts)
    nn.init.xavier_uniform_(score.weight)
    bank: Experts
    if set(kinds) == {"fan"}:
        bank = FourierExperts(num_experts, dim, hidden_dim, glu=glu, bias=bias, dropout=dropout)
    elif set(kinds) == {"mlp"}:
        stacked = GLUExperts if glu else MLPExperts
        bank = stacked(num_experts, dim, hidden_dim, bias=bias, dropout=dropout)
    else:
        bank = ModuleExperts(
            [
                make_expert(kind, dim, hidden_dim, glu=glu, bias=bias, dropout=dropout)
                for kind in kinds
            ]
        )
    return MoELayer(
        Router(score, TopK(top_k, renormalize="always", floor=1e-6)),
        bank,
        shared=SharedExpert(always, gate_dim=dim, view="input"),
        losses=() if balance is None else (balance,),
    )


def make_expert(
    kind: SharedKind | FeedForwardKind,
    dim: int,
    hidden_dim: int,
    *,
    glu: bool,
    bias: bool,
    dropout: float,
) -> nn.Module:
    """One network by name."""
    if kind == "fan":
        return FourierFeedForward(dim, hidden_dim, glu=glu, dropout=dropout, bias=bias)
    return make_feed_forward(kind, dim, hidden_dim, glu=glu, dropout=dropout, bias=bias)
