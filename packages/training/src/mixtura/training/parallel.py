"""Models too large for one device: experts spread over processes, everything else sharded."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

from mixtura.core import moe_layers
from mixtura.core.dispatch.expert_parallel import shard_experts
from mixtura.core.errors import InputError

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

__all__ = ["distribute"]


def distribute(network: nn.Module, mesh: "DeviceMesh") -> list[str]:
    """Spread the experts of `network` over a mesh and shard its other parameters, in place.

    Every process keeps its share of the experts of a layer and gets the rows for them from all
    processes, which see different batches. What remains (attention, routers, shared experts, and
    layers whose experts cannot be spread evenly) is sharded by FSDP2, block by block.

    Args:
        network: The same on all processes.
        mesh: One dimension of processes, over which the data is split.

    Returns:
        Names of the layers whose experts were spread.
    """
    from torch.distributed.fsdp import fully_shard

    spread = []
    travelling = set()
    for name, layer in moe_layers(network).items():
        try:
            shard_experts(layer, mesh)
        except InputError:  # this layer stays whole; FSDP2 shards it like everything else
            continue
        spread.append(name)
        travelling |= set(layer.experts.parameters())
    for block in blocks(network):
        fully_shard(block, mesh=mesh, ignored_params=travelling)
    if any(True for _ in network.parameters(recurse=False)):
        fully_shard(network, mesh=mesh, ignored_params=travelling)
    return spread


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The parts that a forward pass calls one after the other, looking into lists of them."""
    for child in module.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from blocks(child)
        elif any(True for _ in child.parameters()):
            yield child
