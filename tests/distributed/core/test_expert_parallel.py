"""Experts spread over 2 and 4 processes do what one process does."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from mixtura.core import (
    Capacity,
    ExpertChoice,
    ExpertOrthogonality,
    GLUExperts,
    InputError,
    LinearScore,
    LoRAExperts,
    MLPExperts,
    ModuleExperts,
    MoELayer,
    Router,
    SlotScore,
    SoftSlots,
    TopK,
    TopP,
    WeightInputs,
    observe,
)

EXPERTS = {
    "glu": lambda: GLUExperts(4, 6, 5, bias=True),
    "mlp": lambda: MLPExperts(4, 6, 5, out_dim=6),
    "lora": lambda: LoRAExperts(4, 6, 2),
}
SELECTIONS = {
    "top_p": lambda: TopP(0.6),
    "capacity": lambda: Capacity(TopK(2), per="sample"),
    "expert_choice": lambda: ExpertChoice(2.0),
    "weighted_inputs": lambda: WeightInputs(TopK(2)),
    "slots": lambda: SoftSlots(2),
}
# units of each process; a process without units, and one whose experts nobody wants
SIZES = {2: [[7, 5], [9, 0]], 4: [[3, 6, 1, 4], [5, 0, 0, 2]]}


def layer_of(kind: str, skewed: bool) -> MoELayer:
    torch.manual_seed(0)
    layer = MoELayer(Router(LinearScore(6, 4, bias=True), TopK(2)), EXPERTS[kind]())
    if skewed:
        with torch.no_grad():
            layer.router.score_function.bias.copy_(torch.tensor([50.0, 40.0, 0.0, 0.0]))
    return layer


def layer_with(selection: str) -> MoELayer:
    torch.manual_seed(1)
    slots = selection == "slots"
    score = SlotScore(6, 4, 2) if slots else LinearScore(6, 4, std=1.0)
    activation = "identity" if slots else "softmax"
    router = Router(score, SELECTIONS[selection](), activation=activation)
    return MoELayer(router, MLPExperts(4, 6, 5))


def sample_of(rank: int) -> tuple[Tensor, Tensor]:
    x, _ = units_of(rank, 8)
    return x[None], torch.tensor([[True] * 6 + [rank % 2 == 0] * 2])


def units_of(rank: int, size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(size, 6, generator=generator), torch.randn(size, 6, generator=generator)


def whole(value: Tensor) -> Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def work(rank: int, world: int, folder: str) -> None:
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        set_model_state_dict,
    )
    from torch.distributed.device_mesh import init_device_mesh

    from mixtura.core.dispatch.expert_parallel import shard_experts

    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,), mesh_dim_names=("experts",))
    found = {}
    for kind in EXPERTS:
        for case, sizes in enumerate(SIZES[world]):
            for skewed in (False, True):
                layer = shard_experts(layer_of(kind, skewed), mesh["experts"])
                x, grad = units_of(rank, sizes[rank])
                x.requires_grad_()
                y = layer(x)
                (y * grad).sum().backward()
                for name, parameter in layer.named_parameters():
                    if not name.startswith("experts"):
                        distributed.all_reduce(parameter.grad)
                        parameter.grad /= world
                grads = {n: whole(p.grad) for n, p in layer.named_parameters()}
                found[kind, case, skewed] = {"y": y.detach(), "x": x.grad, **grads}
    for selection in SELECTIONS:
        layer = shard_experts(layer_with(selection), mesh["experts"])
        x, mask = sample_of(rank)
        y = layer(x, mask=mask)
        y.square().sum().backward()
        grads = {n: whole(p.grad) for n, p in layer.experts.named_parameters()}
        found[selection] = {"y": y.detach(), **grads}
    with pytest.raises(InputError, match="are spread over processes"), observe(layer, {"x"}):
        pass
    layer = MoELayer(Router(LinearScore(6, 4), TopK(2)), MLPExperts(4, 6, 5))
    layer.losses = (ExpertOrthogonality(),)
    with pytest.raises(InputError, match="looks at what the experts put out"):
        shard_experts(layer, mesh["experts"])
    layer = layer_of("mlp", False)
    layer = shard_experts(layer, mesh["experts"])
    options = StateDictOptions(full_state_dict=True)
    state = get_model_state_dict(layer, options=options)
    found["state"] = {name: value.clone() for name, value in state.items()}
    changed = {name: value + 1 for name, value in layer_of("mlp", False).state_dict().items()}
    set_model_state_dict(layer, changed, options=options)
    found["loaded"] = {name: whole(p).detach() for name, p in layer.named_parameters()}
    for bank, number in ((ModuleExperts([nn.Linear(6, 6)] * 4), 4), (MLPExperts(5, 6, 5), 5)):
        refused = MoELayer(Router(LinearScore(6, number), TopK(1)), bank)
        with pytest.raises(InputError, match="cannot be spread"):
            shard_experts(refused, mesh["experts"])
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_equal_one(world: int, tmp_path: Path) -> None:
    multiprocessing.start_processes(work, (world, str(tmp_path)), nprocs=world, start_method="fork")
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    for kind in EXPERTS:
        for case, sizes in enumerate(SIZES[world]):
            for skewed in (False, True):
                layer = layer_of(kind, skewed)
                parts = [units_of(rank, size) for rank, size in enumerate(sizes)]
                x = torch.cat([part[0] for part in parts]).requires_grad_()
                y = layer(x)
                ((y * torch.cat([part[1] for part in parts])).sum() / world).backward()
                got = [one[kind, case, skewed] for one in found]
                close = {"atol": 1e-6, "rtol": 1e-6}
                torch.testing.assert_close(torch.cat([one["y"] for one in got]), y, **close)
                grad_x = torch.cat([one["x"] for one in got]) / world
                torch.testing.assert_close(grad_x, x.grad, **close)
                for name, parameter in layer.named_parameters():
                    for one in got:
                        torch.testing.assert_close(one[name], parameter.grad, **close)
    for selection in SELECTIONS:
        layer = layer_with(selection)
        samples = [sample_of(rank) for rank in range(world)]
        y = layer(torch.cat([x for x, _ in samples]), mask=torch.cat([m for _, m in samples]))
        (y.square().sum() / world).backward()
        torch.testing.assert_close(torch.cat([one[selection]["y"] for one in found]), y)
        for name, parameter in layer.experts.named_parameters():
            for one in found:
                torch.testing.assert_close(one[selection][name], parameter.grad)
    expected = layer_of("mlp", False).state_dict()
    torch.testing.assert_close(found[0]["state"], expected)
    for one in found:
        torch.testing.assert_close(one["loaded"], {n: v + 1 for n, v in expected.items()})
