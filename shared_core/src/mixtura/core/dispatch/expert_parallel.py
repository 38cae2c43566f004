"""Experts spread over processes: the rows travel, the weights stay."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

from mixtura.core.dispatch.base import Dispatch
from mixtura.core.dispatch.exchange import exchange
from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.routing import Routing

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from mixtura.core.layer import MoELayer

__all__ = ["ExpertParallel", "shard_experts"]


class ExpertParallel(Dispatch):
    """Rows to the process that has their expert, and back: two all-to-alls each way.

    Process r of P has the experts `r E / P` to `(r + 1) E / P`. Every process brings its own units,
    any number of them, none included, and all processes have to call the layer.

    Args:
        mesh: one dimension of processes.
        average: divide the gradients of the experts by the number of processes. They are sums over
            the units of all processes; with a loss that is a mean per process, replicated
            parameters are averaged over processes, and so must these be.
    """

    any_rows = True
    whole = False

    def __init__(self, mesh: "DeviceMesh", *, average: bool = True) -> None:
        self.group = mesh.get_group()
        self.size = mesh.size()
        self.average = average

    def __call__(
        self, experts: Experts, x: Float[Tensor, "units *rest"], routing: Routing
    ) -> Float[Tensor, "units *out"]:
        """Exchange, compute the own experts, exchange back, combine."""
        assert isinstance(experts, StackedExperts)
        total = int(routing.counts.sum())
        mine = routing.counts.view(self.size, -1)
        theirs = torch.empty_like(mine)  # rows of each process for each of my experts
        distributed.all_to_all_single(theirs, mine, group=self.group)
        send, receive = mine.sum(1).tolist(), theirs.sum(1).tolist()
        rows = exchange(routing.gather(x)[:total], send, receive, self.group)
        expert = torch.arange(theirs.shape[1], device=x.device).repeat(self.size)
        order = expert.repeat_interleave(theirs.flatten()).argsort(stable=True)
        counts = theirs.sum(0).tolist()
        weights = {name: self._local(value) for name, value in experts.weights().items()}
        outputs = experts.loop_with(weights, rows.index_select(0, order), counts)
        inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)).to(order))
        back = exchange(outputs.index_select(0, inverse), receive, send, self.group)
        return routing.combine(back, x.dtype)

    def _local(self, weight: Any) -> Tensor | None:
        if weight is None:
            return None
        local = weight.to_local()
        if self.average and local.requires_grad:
            local.register_hook(lambda grad: grad / self.size)
        return local


def shard_experts(layer: "MoELayer", mesh: "DeviceMesh", *, average: bool = True) -> "MoELayer":
    """Spread the experts of a layer over the processes of a mesh, in place.

    The parameters become DTensors sharded over experts, so that a checkpoint
    (`torch.distributed.checkpoint.state_dict`) does not depend on the number of processes. Router
    and shared expert stay replicated; data parallelism takes care of them.

    Args:
        layer: the same on all processes.
        mesh: one dimension, whose size divides the number of experts.
        average: see `ExpertParallel`.

    Raises:
        InputError: when the experts cannot be spread.
    """
    from torch.distributed.tensor import Shard, distribute_tensor

    experts = layer.experts
    kind = type(experts).__name__
    if mesh.ndim != 1:
        raise InputError(
            f"experts are spread over one mesh dimension, got {mesh.ndim}; choose one by name, "
            "such as mesh['experts']"
        )
    if not isinstance(experts, StackedExperts):
        raise InputError(
            f"{kind} cannot be spread over processes: its experts are not stacked in one tensor; "
            "use a stacked kind such as MLPExperts, or leave this layer whole"
        )
    strange = [
        name
        for name, value in [*experts.named_parameters(), *experts.named_buffers()]
        if "." in name or name in experts._buffers or value.shape[0] != experts.num_experts
    ]
    if strange:
        raise InputError(
            f"{kind} cannot be spread over processes: its experts share {', '.join(strange)}; "
            "use a kind whose experts have nothing in common, or leave this layer whole"
        )
    curious = [type(one).__name__ for one in layer.losses if "outputs" in one.needs or one.probe]
    if curious:
        raise InputError(
            f"{', '.join(curious)} looks at what the experts put out, which no process sees all of "
            "when the experts are spread; leave the loss out, or this layer whole"
        )
    if experts.num_experts % mesh.size():
        raise InputError(
            f"{experts.num_experts} experts cannot be spread evenly over {mesh.size()} processes; "
            "choose a number of experts that is a multiple of it"
        )
    for name, value in list(experts.named_parameters()):
        spread = distribute_tensor(value.detach(), mesh, [Shard(0)])
        experts.register_parameter(name, nn.Parameter(spread, value.requires_grad))
    layer.dispatch = ExpertParallel(mesh, average=average)
    return layer
