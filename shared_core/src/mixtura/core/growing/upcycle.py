"""Upcycling: replicas of a dense layer, whole or in pieces, become experts."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mixtura.core.configuration import ARGUMENTS
from mixtura.core.errors import InputError
from mixtura.core.experts import GLUExperts, MLPExperts, StackedExperts
from mixtura.core.growing.dense import DenseFFN
from mixtura.core.layer import MoELayer
from mixtura.core.losses.base import Loss
from mixtura.core.router import Router
from mixtura.core.scores import LinearScore
from mixtura.core.selections import Selection, TopK, UnitWeights

__all__ = ["experts_from", "merge_to_dense", "upcycle_ffn"]

Gate = Literal["scaled", "sum", "normalized", "softmax"]


@torch.no_grad()
def upcycle_ffn(
    ffn: DenseFFN,
    replicas: int,
    *,
    pieces: int = 1,
    k: int | None = None,
    gate: Gate = "scaled",
    router_std: float = 0.02,
    noise: float = 0.0,
    drop: float = 0.0,
    losses: Sequence[Loss] = (),
    dispatch: str = "auto",
    generator: torch.Generator | None = None,
) -> MoELayer:
    """A mixture of `replicas * pieces` experts that computes what `ffn` computes at first.

    Expert `n * pieces + j` is piece j of replica n; the pieces of a replica share their router row,
    so that top-k takes whole replicas. With `gate` "scaled" (weights sum to `pieces`) or "sum"
    (every weight is `pieces / k`) and k a multiple of `pieces`, the layer equals the dense one for
    every unit, whichever replicas win; "normalized" and "softmax" do not keep it when there are
    pieces. `noise` and `drop` break the equality, and the symmetry.

    - `pieces=1`: sparse upcycling (Komatsuzaki et al., arXiv 2212.05055), with k experts per unit.
    - `drop`: Drop-Upcycling (Nakamura et al., ICLR 2025, arXiv 2502.19261).
    - `pieces=k`: Dynamic-DINO's granularity decomposition and exact start.
    - `replicas=1`: the experts are slices of the layer (FactorLLM), k of them at work.

    Args:
        ffn: the dense layer.
        replicas: copies of it.
        pieces: slices of each copy along the hidden units.
        k: experts per unit; `pieces` when not given.
        gate: how the weights follow from the softmax of the router.
        router_std: standard deviation of the router rows.
        noise: relative to each weight's standard deviation, added to every expert.
        drop: share of each expert's hidden units drawn anew, with the mean and standard deviation
            of the weights they replace.
        losses: of the layer.
        dispatch: of the layer.
        generator: of everything random.

    Raises:
        InputError: for sizes that do not go into each other.
    """
    k = pieces if k is None else k
    total = replicas * pieces
    if replicas < 1 or pieces < 1 or ffn.hidden_dim % pieces:
        raise InputError(
            f"{ffn.hidden_dim} hidden units cannot be cut into {pieces} equal pieces of "
            f"{replicas} replicas; choose a divisor"
        )
    if not 1 <= k <= total:
        raise InputError(f"k must be between 1 and {total} experts, got {k}")
    if not 0 <= drop < 1 or noise < 0:
        raise InputError(f"expected 0 <= drop < 1 and noise >= 0, got {drop} and {noise}")
    parts = [ffn.piece(j, pieces) for _ in range(replicas) for j in range(pieces)]
    for part in parts:
        if drop:
            _draw_anew(part, drop, generator)
        if noise:
            for value in part.values():
                value += noise * _spread(value) * _normal(value, generator)
    experts = experts_from(parts, ffn.activation)
    score = LinearScore(ffn.up.in_features, total, std=router_std)
    rows = _normal(score.weight[:replicas], generator) * router_std
    score.weight.copy_(rows.repeat_interleave(pieces, 0))
    layer = MoELayer(
        Router(score, _selection(gate, k, pieces)), experts, losses=losses, dispatch=dispatch
    )
    return layer.to(ffn.up.weight)


def _selection(gate: Gate, k: int, pieces: int) -> Selection:
    if gate == "scaled":
        return TopK(k, scale=float(pieces))
    if gate == "sum":
        return UnitWeights(TopK(k), pieces / k)
    if gate == "normalized":
        return TopK(k)
    if gate == "softmax":
        return TopK(k, renormalize="never")
    raise InputError(f"gate must be scaled, sum, normalized or softmax, got {gate!r}")


@torch.no_grad()
def experts_from(parts: Sequence[dict[str, Tensor]], activation: str) -> StackedExperts:
    """A bank of experts with these parameters, one dict of equal shapes for each expert."""
    first = parts[0]
    hidden, dim = first["down"].shape[1], first["up" if "up" in first else "gate_up"].shape[1]
    options: dict[str, Any] = {
        "out_dim": first["down"].shape[0],
        "activation": activation,
        "bias": "down_bias" in first,
    }
    kind = MLPExperts if "up" in first else GLUExperts
    experts = kind(len(parts), dim, hidden, **options)
    for name in first:
        if any(part[name].shape != first[name].shape for part in parts):
            raise InputError("all experts of a bank must have the same sizes")
        getattr(experts, name).copy_(torch.stack([part[name] for part in parts]))
    return experts


@torch.no_grad()
def merge_to_dense(layer: MoELayer, replica: int = 0, *, pieces: int = 1) -> DenseFFN:
    """One replica of an upcycled layer as a dense layer again.

    Args:
        layer: what `upcycle_ffn` gave, trained further or not.
        replica: which one.
        pieces: as in `upcycle_ffn`.
    """
    experts = layer.experts
    if not isinstance(experts, MLPExperts | GLUExperts):
        raise InputError(f"only MLP and GLU experts can be merged, got {type(experts).__name__}")
    if experts.num_experts % pieces or not 0 <= replica < experts.num_experts // pieces:
        raise InputError(
            f"{experts.num_experts} experts in replicas of {pieces} have no replica {replica}"
        )
    mine = slice(replica * pieces, (replica + 1) * pieces)
    gated = isinstance(experts, GLUExperts)
    first = experts.gate_up if gated else experts.up
    bias = experts.gate_up_bias if gated else experts.up_bias
    halves = [part.flatten(0, 1) for part in first[mine].chunk(2 if gated else 1, 1)]
    offsets = [None] * len(halves)
    if bias is not None:
        offsets = [part.flatten() for part in bias[mine].chunk(len(halves), 1)]
    maps = [_linear(w, b) for w, b in zip(halves, offsets, strict=True)]
    down = experts.down[mine].permute(1, 0, 2).flatten(1)
    last = None if experts.down_bias is None else experts.down_bias[mine].sum(0)
    gate = maps[0] if gated else None
    activation = experts.__dict__[ARGUMENTS]["activation"]
    return DenseFFN(maps[-1], _linear(down, last), gate, activation)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer.to(weight)


def _draw_anew(part: dict[str, Tensor], share: float, generator: torch.Generator | None) -> None:
    """New values for some hidden units, the same ones in every matrix."""
    hidden = part["down"].shape[1]
    count = round(share * hidden)
    units = torch.randperm(hidden, generator=generator)[:count].to(part["down"].device)
    name = "up" if "up" in part else "gate_up"
    for block in part[name].view(-1, hidden, part[name].shape[1]):
        old = block[units]
        block[units] = old.mean() + _spread(old) * _normal(old, generator)
    old = part["down"][:, units]
    part["down"][:, units] = old.mean() + _spread(old) * _normal(old, generator)


def _spread(value: Tensor) -> Tensor:
    return value.std() if value.numel() > 1 else value.new_zeros(())


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    drawn = torch.randn(like.shape, generator=generator, dtype=torch.float32)
    return drawn.to(like)
