"""Specialisation: experts that work on the same unit should say different things."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.losses.load_balance import scores_of
from mixtura.core.routing import Routing

__all__ = [
    "ExpertOrthogonality",
    "RoutingVariance",
    "expert_orthogonality",
    "routing_variance",
]


def expert_orthogonality(
    calls: Sequence[Routing], *, normalized: bool = True, probed: bool = False, eps: float = 1e-8
) -> Float[Tensor, ""]:
    """How much the outputs of a unit's active experts overlap, over ordered pairs j != k.

    Normalised: the mean of `cos^2(y_j, y_k)` over all active pairs. Else the sum of
    `<y_j, y_k>^2 / (|y_k|^2 + eps)` per unit: the squared length of the projection. The outputs are
    those before the combine weights. Without a pair (k = 1) it is 0.

    Advancing Expert Specialization, NeurIPS 2025 (arXiv 2505.22323).

    Args:
        calls: token-choice routings that carry outputs (`Loss.needs`).
        normalized: see above.
        probed: compare the experts of the probed units, the chosen and the added ones.
        eps: keeps the division finite.
    """
    total: Tensor | None = None
    divisor: Tensor | float = 0.0
    for call in calls:
        if probed and call.probing is not None:
            call = call.probing
        if call.outputs is None or call.index is None:
            raise InputError(
                "an orthogonality loss needs routings in which units chose experts and whose "
                "layer kept the outputs; configure the loss on the layer"
            )
        units, choices = call.index.shape
        y = call.outputs.flatten(1)
        y = y.to(torch.promote_types(y.dtype, torch.float32))
        missing = len(call.order) - len(y)
        y = torch.cat([y, y.new_zeros(missing, y.shape[-1])])
        y = y.index_select(0, call.inverse).unflatten(0, (units, choices))
        live = (call.expert < call.num_experts).view(units, choices)
        if call.free is not None:
            live = live & call.free[:, None]
        y = y.where(live[..., None], 0.0)
        product = y @ y.transpose(1, 2)
        squared = product.diagonal(dim1=1, dim2=2)
        pair = live[:, :, None] & live[:, None, :]
        pair = pair & ~torch.eye(choices, dtype=torch.bool, device=y.device)
        scale = squared[:, None, :] + eps
        if normalized:
            scale = scale * (squared[:, :, None] + eps)
        overlap = (product.square() / scale).where(pair, 0.0).sum()
        total = overlap if total is None else total + overlap
        divisor = divisor + (pair.sum() if normalized else live.any(-1).sum())
    if total is None:
        raise InputError("an orthogonality loss needs at least one routing")
    return total / torch.as_tensor(divisor).clamp_min(1)


def routing_variance(calls: Sequence[Routing]) -> Float[Tensor, ""]:
    """`-(1/R) sum_e var_u(s_ue)`: scores that differ from unit to unit make it fall.

    Advancing Expert Specialization, NeurIPS 2025 (arXiv 2505.22323).

    Args:
        calls: routings with scores over the same experts.
    """
    parts = []
    for call in calls:
        scores = scores_of(call)
        parts.append(scores if call.free is None else scores[call.free])
    if not parts:
        raise InputError("a variance loss needs at least one routing")
    scores = torch.cat(parts)
    if len(scores) == 0:
        return scores.sum()
    return -scores.var(0, correction=0).mean()


@configurable
class ExpertOrthogonality(Loss):
    """`expert_orthogonality` as a configured loss; the layer then keeps what its experts put out.

    A unit with one expert has no pair: with `probe` some units go through so many other experts
    too, drawn at random, for this loss alone.

    Args:
        weight: factor of the term.
        normalized: see `expert_orthogonality`.
        probe: experts to add to the chosen ones.
        probe_share: part of the units that are probed.
        scope: per layer, or pooled.
    """

    name = "expert_orthogonality"
    needs = frozenset({"outputs"})

    def __init__(
        self,
        weight: float = 1e-3,
        *,
        normalized: bool = True,
        probe: int = 0,
        probe_share: float = 0.1,
        scope: Scope = "layer",
    ) -> None:
        super().__init__(weight, scope)
        check_number("probe", probe, least=0)
        check_number("probe_share", probe_share, above=0, most=1)
        self.normalized = normalized
        self.probe = probe if weight else 0
        self.probe_share = probe_share
        if weight == 0 or probe:
            self.needs = frozenset()

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss; nothing at all where the weight is zero."""
        if self.weight == 0:
            return torch.zeros(())
        probed = self.probe > 0
        return expert_orthogonality(calls, normalized=self.normalized, probed=probed)


@configurable
class RoutingVariance(Loss):
    """`routing_variance` as a configured loss.

    Args:
        weight: factor of the term.
        scope: per layer, or pooled.
    """

    name = "routing_variance"

    def __init__(self, weight: float = 1e-3, *, scope: Scope = "layer") -> None:
        super().__init__(weight, scope)

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss; nothing at all where the weight is zero."""
        return routing_variance(calls) if self.weight else torch.zeros(())
