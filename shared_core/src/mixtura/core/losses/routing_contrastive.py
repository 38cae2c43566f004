"""Routing contrastive: a prototype should be near the units that it attracts.

Shape letters: U units, G groups, R prototypes (routed experts), d width of what the router sees.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.routing import Routing

__all__ = ["RoutingContrastive", "routing_contrastive"]


def routing_contrastive(
    calls: Sequence[Routing],
    *,
    temperature: float = 0.07,
    choices: int | None = None,
    per_sample: bool = False,
) -> Float[Tensor, ""]:
    """`mean_i -log softmax_j(cos(p_i, m_j) / tau)_i` over the experts i that have units.

    p_i is the prototype of expert i and m_i the mean of the rows that the router saw of its units;
    forced and padded units are left out. Experts without units take no part, and fewer than two
    experts with units give 0.

    Args:
        calls: routings of one layer with a cosine score.
        temperature: tau.
        choices: best choices of a unit by which it belongs to an expert; all when not given.
        per_sample: whether the means are taken in each sample (expert choice) or over all calls.

    Raises:
        InputError: when a routing lacks prototypes, rows or choices.

    Source: ProMoE (arXiv 2510.24711, eq. 6).
    """
    if temperature <= 0:
        raise InputError(f"the temperature must be positive, got {temperature}")
    if not calls:
        raise InputError("a routing contrastive loss needs at least one routing")
    sums, counts = [], []
    for call in calls:
        members, rows = _members(call, choices), _rows(call)
        with torch.autocast(rows.device.type, enabled=False):
            groups = call.num_samples if per_sample else 1
            member = members.to(rows.dtype).view(groups, -1, members.shape[-1])
            sums.append(member.transpose(1, 2) @ rows.view(groups, -1, rows.shape[-1]))
            counts.append(member.sum(1))
    if per_sample:
        total, count = torch.cat(sums), torch.cat(counts)
    else:
        total, count = torch.stack(sums).sum(0), torch.stack(counts).sum(0)
    mean = F.normalize(total / count.clamp_min(1)[..., None], dim=-1, eps=1e-12)
    return _contrast(calls[-1].aux["prototypes"], mean, count > 0, temperature)


def _contrast(
    prototypes: Float[Tensor, "routed dim"],
    mean: Float[Tensor, "groups routed dim"],
    kept: Bool[Tensor, "groups routed"],
    temperature: float,
) -> Float[Tensor, ""]:
    with torch.autocast(mean.device.type, enabled=False):
        similarity = prototypes.to(mean.dtype) @ mean.transpose(1, 2) / temperature
    own = similarity.diagonal(dim1=1, dim2=2)
    others = similarity.masked_fill(~kept[:, None], torch.finfo(mean.dtype).min)
    cross_entropy = (others.logsumexp(-1) - own).where(kept, 0.0)
    return cross_entropy.sum() / kept.sum().clamp_min(1)


def _members(call: Routing, choices: int | None) -> Bool[Tensor, "units routed"]:
    if call.logits is None:
        raise InputError("a routing contrastive loss needs routings that carry logits")
    routed = call.logits.shape[-1]
    if choices is None:
        members = call.chosen[:, :routed]
    elif call.index is None:
        raise InputError(
            "only a token-choice routing has best choices; leave `choices` out where experts choose"
        )
    else:
        best = call.index[:, :choices]
        members = torch.zeros(len(best), call.num_experts, dtype=torch.bool, device=best.device)
        members = members.scatter(1, best, True)[:, :routed] & call.chosen[:, :routed]
    return members if call.free is None else members & call.free[:, None]


def _rows(call: Routing) -> Float[Tensor, "units dim"]:
    prototypes = call.aux.get("prototypes")
    if prototypes is None or call.rows is None:
        raise InputError(
            "a routing contrastive loss needs prototypes and rows; use CosineScore, and configure "
            "the loss on the layer so that it keeps what its router saw"
        )
    if call.rows.shape[-1] != prototypes.shape[-1]:
        raise InputError(
            f"the router saw rows of width {call.rows.shape[-1]}, but its prototypes have "
            f"{prototypes.shape[-1]}; use CosineScore without a projection"
        )
    return call.rows.to(torch.promote_types(call.rows.dtype, torch.float32))


@configurable
class RoutingContrastive(Loss):
    """`routing_contrastive` as a configured loss; one term per layer, summed in training.

    Args:
        weight: factor of the term; 1 in ProMoE, 10 for its DDPM model of size B.
        temperature: see `routing_contrastive`.
        choices: see `routing_contrastive`.
        per_sample: see `routing_contrastive`.
    """

    name = "routing_contrastive"
    needs = frozenset({"rows"})

    def __init__(
        self,
        weight: float = 1.0,
        *,
        temperature: float = 0.07,
        choices: int | None = None,
        per_sample: bool = False,
    ) -> None:
        super().__init__(weight)
        check_number("temperature", temperature, above=0)
        check_sizes(choices=choices)
        self.temperature = temperature
        self.choices = choices
        self.per_sample = per_sample

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return routing_contrastive(
            calls,
            temperature=self.temperature,
            choices=self.choices,
            per_sample=self.per_sample,
        )
