"""Data parallelism: idle experts, global counts, and sharded parameters."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from mixtura.core import (
    Experts,
    GLUExperts,
    LinearScore,
    LoadBalance,
    ModuleExperts,
    MoELayer,
    Router,
    TopK,
    record_routing,
)

WORLD = 2
KINDS = {
    "glu": lambda: GLUExperts(4, 6, 5),
    "modules": lambda: ModuleExperts([nn.Linear(6, 6) for _ in range(4)]),
}


def model_of(experts: Experts) -> nn.Sequential:
    torch.manual_seed(0)
    router = Router(LinearScore(6, 4, bias=True), TopK(1, renormalize="never"))
    with torch.no_grad():
        router.score_function.bias[0] = 50.0  # all units want one expert, the others are idle
    layer = MoELayer(router, experts, losses=[LoadBalance(0.1, across_ranks=True)])
    return nn.Sequential(nn.Linear(6, 6), layer)


def inputs(rank: int) -> Tensor:
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(rank))


def step(model: nn.Module, x: Tensor) -> None:
    with record_routing(model) as record:
        y = model(x)
    (y.square().mean() + sum(record.losses().values())).backward()


def whole(value: Tensor) -> Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def work(rank: int, folder: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=WORLD)
    mesh = init_device_mesh("cpu", (WORLD,))
    found = {}
    for kind, make in KINDS.items():
        torch.manual_seed(1)
        model = model_of(make())
        ddp = DistributedDataParallel(model)
        for _ in range(2):  # the second step fails when a parameter had no gradient
            model.zero_grad()
            step(ddp, inputs(rank))
        found[kind, "ddp"] = {name: p.grad for name, p in model.named_parameters()}
        torch.manual_seed(1)
        sharded = model_of(make())
        fully_shard(sharded[1], mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        for _ in range(2):
            sharded.zero_grad()
            step(sharded, inputs(rank))
        found[kind, "fsdp"] = {name: whole(p.grad) for name, p in sharded.named_parameters()}
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_ddp_and_fsdp_equal_one_process(tmp_path: Path) -> None:
    for needed in ("torch._dynamo", "torch.distributed.fsdp"):  # once, not in each process
        import_module(needed)
    multiprocessing.start_processes(work, (str(tmp_path),), nprocs=WORLD, start_method="fork")
    found = torch.load(tmp_path / "found.pt")
    for kind, make in KINDS.items():
        torch.manual_seed(1)
        model = model_of(make())
        step(model, torch.cat([inputs(rank) for rank in range(WORLD)]))
        for mode in ("ddp", "fsdp"):
            for name, parameter in model.named_parameters():
                torch.testing.assert_close(
                    found[kind, mode][name], parameter.grad, atol=1e-6, rtol=1e-5
                )
