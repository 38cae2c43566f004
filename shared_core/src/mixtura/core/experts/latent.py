"""Latent experts: what all experts share is done once per unit, outside of them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mixtura.core.checks import check_sizes
from mixtura.core.configuration import ARGUMENTS, configurable
from mixtura.core.errors import InputError
from mixtura.core.experts.activations import activation_function
from mixtura.core.experts.base import Experts
from mixtura.core.experts.glu import GLUExperts
from mixtura.core.experts.layouts import Layout
from mixtura.core.experts.stacked import StackedExperts, init_per_expert
from mixtura.core.routing import Routing

__all__ = ["LatentExperts", "factorize_experts"]


@configurable
class LatentExperts(Experts):
    """`B_down A_down (act(A_gate l_gate) * (A_up l_up))`, with `l = B x` shared by all experts.

    Each weight of a gated expert is a product of its own small matrix and a shared one. The latent
    `l` is made once per unit before dispatch, `B_down` is applied once after the weighted sum; only
    latents move (MoLAE, arXiv 2503.23100, eq. 5-7).

    Experts may share their latent in groups instead of all together; a unit then has a latent, and
    a weighted sum, for each group.

    Args:
        num_experts: E.
        dim: width of a row.
        hidden_dim: width inside an expert.
        latent_dim: m, width of each latent.
        activation: on the gate.
        experts_per_group: experts that share a latent, neighbours; all of them when not given.
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
        experts_per_group: int | None = None,
    ) -> None:
        super().__init__()
        check_sizes(num_experts=num_experts, dim=dim, hidden_dim=hidden_dim, latent_dim=latent_dim)
        check_sizes(experts_per_group=experts_per_group)
        self.dim = dim
        self.num_experts = num_experts
        self.experts_per_group = num_experts if experts_per_group is None else experts_per_group
        if num_experts % self.experts_per_group:
            raise InputError(
                f"{num_experts} experts cannot be put into groups of {experts_per_group}; choose a "
                "divisor"
            )
        groups = num_experts // self.experts_per_group
        self.own = LatentCore(num_experts, hidden_dim, latent_dim, activation)
        self.into = nn.Parameter(torch.empty(groups, 2 * latent_dim, dim))
        self.out = nn.Parameter(torch.empty(groups, dim, latent_dim))
        for weight in (self.into, self.out):
            init_per_expert(weight, lambda matrix: nn.init.kaiming_uniform_(matrix, a=math.sqrt(5)))

    def one(self, expert: int, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "rows *out"]:
        """Output of one expert."""
        group = expert // self.experts_per_group
        return F.linear(self.own.one(expert, F.linear(rows, self.into[group])), self.out[group])

    def all(self, x: Float[Tensor, "units *rest"]) -> Float[Tensor, "units experts *out"]:
        """Output of every expert for every unit."""
        if len(self.into) > 1:
            return super().all(x)
        return F.linear(self.own.all(F.linear(x, self.into[0])), self.out[0])

    def mix(self, x: Float[Tensor, "units *rest"], routing: Routing) -> Float[Tensor, "units *out"]:
        """The weighted sum; latents are what moves."""
        from mixtura.core.dispatch.auto import Auto

        groups = len(self.into)
        if groups == 1:
            return F.linear(Auto()(self.own, F.linear(x, self.into[0]), routing), self.out[0])
        latent = torch.einsum("u...d,gld->ug...l", x, self.into).flatten(0, 1)
        mixed = Auto()(self.own, latent, self._between_latents(routing))
        return torch.einsum("ug...m,gdm->u...d", mixed.unflatten(0, (-1, groups)), self.out)

    def _between_latents(self, routing: Routing) -> Routing:
        """The same decision about the latents of all units, group by group."""
        groups = len(self.into)
        group = (routing.expert // self.experts_per_group).clamp_max(groups - 1)
        return Routing(
            routing.unit * groups + group,
            routing.expert,
            routing.weight,
            num_units=routing.num_units * groups,
            num_experts=routing.num_experts,
            may_be_invalid=routing.may_be_invalid,
        )


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
    experts_per_group: int | None = None,
) -> LatentExperts:
    """Latent experts that come closest to trained ones.

    Minimises `sum_i |W_i - A_i B|^2`: B holds the leading right singular vectors of the stacked
    weights (for down, the left ones), `A_i = W_i B^T`. With `latent_dim = dim` it is exact.

    MoLAE (arXiv 2503.23100).

    Args:
        experts: gated experts without offsets.
        latent_dim: m.
        rank: reduce each expert's weights to this rank first.
        inputs: calibration rows; errors then count in the directions that occur (the weights are
            multiplied by the root of `E[x x^T]`).
        experts_per_group: experts that share a latent; all of them when not given.
    """
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
        experts_per_group=experts_per_group,
    ).to(experts.gate_up)
    for group in range(len(latent.into)):
        first = group * latent.experts_per_group
        members = slice(first, first + latent.experts_per_group)
        own_gate, into_gate = _factors(gate[members], latent_dim, inputs)
        own_up, into_up = _factors(up[members], latent_dim, inputs)
        own_down, out = _factors(down[members].mT, latent_dim, None)
        latent.own.gate[members] = own_gate.to(latent.into)
        latent.own.up[members] = own_up.to(latent.into)
        latent.own.down[members] = own_down.mT.to(latent.into)
        latent.into[group] = torch.cat([into_gate, into_up]).to(latent.into)
        latent.out[group] = out.T.to(latent.into)
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
