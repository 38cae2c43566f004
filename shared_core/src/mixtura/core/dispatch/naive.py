"""The reference: one expert after the other looks for its units."""

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.dispatch.base import Dispatch, register_dispatch
from mixtura.core.experts.base import Experts
from mixtura.core.routing import Routing

__all__ = ["Naive"]


@register_dispatch("naive")
class Naive(Dispatch):
    """What the other dispatches are tested against: no sorting, no cleverness."""

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Loop over the experts, adding each one's weighted outputs to its units."""
        total = None
        for expert in range(routing.num_experts):
            mine = (routing.expert == expert).nonzero().squeeze(1)
            units = routing.unit[mine]
            output = experts.one(expert, x[units])
            output = output.to(torch.promote_types(x.dtype, torch.float32))
            weight = routing.weight[mine].to(output.dtype)
            output = output * weight.view(-1, *[1] * (output.ndim - 1))
            if total is None:
                total = output.new_zeros(routing.num_units, *output.shape[1:])
            total = total.index_add(0, units, output)
        assert total is not None  # a routing has at least one expert
        return total.to(x.dtype)
