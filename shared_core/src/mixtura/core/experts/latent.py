"""Latent experts: what all experts share is done once per unit, outside of them."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.configuration import configurable
from mixtura.core.experts.activations import activation_function
from mixtura.core.experts.base import Experts
from mixtura.core.experts.glu import GLUExperts
from mixtura.core.experts.layouts import Layout
from mixtura.core.experts.mlp import check_sizes
from mixtura.core.experts.stacked import StackedExperts, init_per_expert
from mixtura.core.routing import Routing

__all__ = ["LatentExperts", "factorize_experts"]


@configurable
class LatentExperts(Experts):
    """`B_down A_down (act(A_gate l_gate) * (A_up l_up))`, with `l = B x` shared by all experts.

    Each weight of a gated expert is a product of its own small matrix and a shared one. The latent
    `l` is made once per unit before dispatch, `B_down` is applied once after the weighted sum; only
    latents move (MoLAE, arXiv 2503.23100, eq. 5-7).

    Args:
        num_experts: E.
        dim: width of a row.
        hidden_dim: width inside an expert.
        latent_dim: m, width of each latent.
        activation: on the gate.
    """

    prefers_mix = True

    def __init__(
        self,
        num_experts: int,
        dim: int,
        hidden_dim: int,
        latent_dim: int,
        *,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts, dim=dim, hidden_dim=hidden_dim, latent_dim=latent_dim)
        self.num_experts = num_experts
        self.own = LatentCore(num_experts, hidden_dim, latent_dim, activation)
        self.into = nn.Linear(dim, 2 * latent_dim, bias=False)
        self.out = nn.Linear(latent_dim, dim, bias=False)

    def one(self, expert: int, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *out"]:
        """Output of one expert."""
        return self.out(self.own.one(expert, self.into(rows)))

    def all(self, x: Float[Tensor, "units *rest"]) -> Float[Tensor, "units experts *out"]:
        """Output of every expert for every unit."""
        return self.out(self.own.all(self.into(x)))

    def mix(self, x: Float[Tensor, "units *rest"], routing: Routing) -> Float[Tensor, "units *out"]:
        """The weighted sum; latents are what moves."""
        from mixtura.core.dispatch.auto import Auto

        return self.out(Auto()(self.own, self.into(x), routing))


class LatentCore(StackedExperts):
    """The experts' own part: from both latents, side by side, to one.

    Args:
        num_experts: E.
        hidden_dim: width inside an expert.
        latent_dim: m.
        activation: on the gate.
    """

    def __init__(self, num_experts: int, hidden_dim: int, latent_dim: int, activation: str) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.activation = activation_function(activation)
        self.gate = nn.Parameter(torch.empty(num_experts, hidden_dim, latent_dim))
        self.up = nn.Parameter(torch.empty(num_experts, hidden_dim, latent_dim))
        self.down = nn.Parameter(torch.empty(num_experts, latent_dim, hidden_dim))
        for weight in (self.gate, self.up, self.down):
            init_per_expert(weight)

    def compute(self, rows: Tensor, weights: Mapping[str, Any], layout: Layout) -> Tensor:
        """The gated MLP between latents."""
        gate, up = (part.contiguous() for part in rows.chunk(2, -1))
        hidden = self.activation(layout.linear(gate, weights["gate"]))
        return layout.linear(hidden * layout.linear(up, weights["up"]), weights["down"])


@torch.no_grad()
def factorize_experts(
    experts: GLUExperts,
    latent_dim: int,
    *,
    rank: int | None = None,
    inputs: Float[Tensor, "rows dim"] | None = None,
) -> LatentExperts:
    """Latent experts that come closest to trained ones.

    Minimises `sum_i |W_i - A_i B|^2`: B holds the leading right singular vectors of the stacked
    weights (for down, the left ones), `A_i = W_i B^T`. With `latent_dim = dim` it is exact.

    Args:
        experts: gated experts without offsets.
        latent_dim: m.
        rank: reduce each expert's weights to this rank first.
        inputs: calibration rows; errors then count in the directions that occur (the weights are
            multiplied by the root of `E[x x^T]`).
    """
    from mixtura.core.configuration import ARGUMENTS
    from mixtura.core.errors import InputError

    if experts.gate_up_bias is not None or experts.down_bias is not None:
        raise InputError("experts with offsets cannot be factorised; take experts without bias")
    dim = experts.gate_up.shape[2]
    gate, up = (_reduce(part, rank) for part in experts.gate_up.double().chunk(2, 1))
    down = _reduce(experts.down.double(), rank)
    latent = LatentExperts(
        experts.num_experts,
        dim,
        gate.shape[1],
        latent_dim,
        activation=experts.__dict__[ARGUMENTS]["activation"],
    ).to(experts.gate_up)
    (own_gate, into_gate), (own_up, into_up) = (
        _factors(weight, latent_dim, inputs) for weight in (gate, up)
    )
    own_down, out = _factors(down.mT, latent_dim, None)
    latent.own.gate.copy_(own_gate)
    latent.own.up.copy_(own_up)
    latent.own.down.copy_(own_down.mT)
    latent.into.weight.copy_(torch.cat([into_gate, into_up]))
    latent.out.weight.copy_(out.T)
    return latent


def _reduce(weight: Tensor, rank: int | None) -> Tensor:
    if rank is None:
        return weight
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    return (left[..., :rank] * values[..., None, :rank]) @ right[..., :rank, :]


def _factors(weight: Tensor, latent: int, inputs: Tensor | None) -> tuple[Tensor, Tensor]:
    """A (experts, rows, m) and B (m, dim) with `A B` closest to the weights."""
    root = inverse = torch.eye(weight.shape[2], dtype=weight.dtype)
    if inputs is not None:
        covariance = inputs.double().T @ inputs.double() / len(inputs)
        values, vectors = torch.linalg.eigh(covariance)
        values = values.clamp_min(1e-12 * float(values.max())).sqrt()
        root = (vectors * values) @ vectors.T
        inverse = (vectors / values) @ vectors.T
    stacked = (weight @ root).flatten(0, 1)
    right = torch.linalg.svd(stacked, full_matrices=False)[2][:latent]
    right = F.pad(right, (0, 0, 0, latent - len(right)))
    return weight @ root @ right.T, right @ inverse
