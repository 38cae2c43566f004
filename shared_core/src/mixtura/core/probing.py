"""What other experts would have made of some units."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing

__all__ = ["probe"]


def probe(
    experts: Experts,
    units: Float[Tensor, "units *rest"],
    routing: Routing,
    extra: int,
    share: float,
) -> Routing:
    """A decision about a random part of the units that adds random experts to the chosen ones.

    It carries the experts' outputs (`Routing.outputs`), so that a loss can compare experts on equal
    inputs where a unit has but one. The layer's own output does not change.

    Args:
        experts: the bank.
        units: the layer's input.
        routing: what was decided.
        extra: experts to add to each unit, as far as there are others.
        share: part of the units.
    """
    device = units.device
    some = torch.randperm(routing.num_units, device=device)
    some = some[: math.ceil(share * routing.num_units)]
    chosen = routing.chosen.index_select(0, some)
    most = min(int(chosen.sum(-1).max()) + extra if len(some) else 1, routing.num_experts)
    # Chosen experts come first, then any others in random order.
    wish = torch.rand(chosen.shape, device=device).masked_fill(chosen, 2.0)
    index = wish.topk(most, dim=-1).indices
    wanted = chosen.sum(-1, keepdim=True) + extra
    valid = torch.arange(most, device=device) < wanted
    mask = None if routing.free is None else routing.free.index_select(0, some)
    weight = torch.ones(index.shape, device=device)
    probing = Routing.from_choices(index, weight, valid, num_experts=routing.num_experts, mask=mask)
    probing.outputs = experts(probing.gather(units.index_select(0, some)), probing)
    return probing
