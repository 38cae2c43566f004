"""A run that is resumed goes on as if it had never stopped."""

import io

import torch
from torch import nn

from mixtura.core import (
    BalanceBias,
    BiasBalance,
    GateFreeze,
    GatePro,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    SparsityControl,
    TopK,
    TopPControl,
    record_routing,
    routers,
)
from mixtura.core.memory import Memory


class Run(nn.Module):
    """Two layers, their optimiser and everything that steers their routers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(self._layer() for _ in range(2))
        self.controllers = nn.ModuleList(
            [BiasBalance(0.01, momentum=0.9), GateFreeze(2, margin=0.02, patience=7)]
        )
        self.optimizer = torch.optim.Adam(self.blocks.parameters(), 0.01)

    @staticmethod
    def _layer() -> MoELayer:
        adjustments = [GatePro(0.1, every_n_steps=3), BalanceBias(4)]
        router = Router(LinearScore(6, 4, std=1.0), TopK(2), adjustments=adjustments)
        return MoELayer(router, MLPExperts(4, 6, 8))

    def step(self, number: int) -> None:
        x = torch.randn(16, 6, generator=torch.Generator().manual_seed(number))
        with record_routing(self.blocks) as record:
            for block in self.blocks:
                x = x + block(x)
        self.optimizer.zero_grad()
        x.square().mean().backward()
        self.optimizer.step()
        for controller in self.controllers:
            controller.step(routers(self.blocks), record.statistics())

    def save(self) -> io.BytesIO:
        file = io.BytesIO()
        torch.save({"model": self.state_dict(), "optimizer": self.optimizer.state_dict()}, file)
        file.seek(0)
        return file

    @classmethod
    def load(cls, file: io.BytesIO) -> "Run":
        run, saved = cls(), torch.load(file, weights_only=True)
        run.load_state_dict(saved["model"])
        run.optimizer.load_state_dict(saved["optimizer"])
        return run


def test_everything_that_steers_a_router_is_saved() -> None:
    torch.manual_seed(0)
    run = Run()
    whole: list[dict[str, torch.Tensor]] = []
    files = []
    for number in range(12):
        files.append(run.save())
        run.step(number)
        whole.append({name: value.clone() for name, value in run.state_dict().items()})
    assert "blocks.0.router.frozen" in whole[-1]
    assert "blocks.0.router.frozen" not in whole[3]
    for stop in (1, 5, 8, 11):
        resumed = Run.load(files[stop])
        for number in range(stop, 12):
            resumed.step(number)
            found = resumed.state_dict()
            assert found.keys() == whole[number].keys()
            assert all(torch.equal(found[name], whole[number][name]) for name in found), number


def test_a_state_dict_says_whether_the_router_is_frozen() -> None:
    first, second = (Router(LinearScore(3, 2), TopK(1)) for _ in range(2))
    free = {name: value.clone() for name, value in first.state_dict().items()}
    first.freeze()
    second.load_state_dict(first.state_dict())
    assert second.frozen
    assert not second.score_function.weight.requires_grad
    second.load_state_dict(free)
    assert not second.frozen
    assert second.score_function.weight.requires_grad


def test_the_memory_of_controllers_keeps_names_and_precision() -> None:
    memory = Memory()
    memory["blocks.0.moe"], memory[""] = torch.tensor([0.001, 1.0]), torch.tensor(3)
    other = Memory()
    other["old"] = torch.ones(1)
    other.load_state_dict(memory.state_dict())
    assert sorted(other) == ["", "blocks.0.moe"]
    assert "old" not in other
    assert other.bfloat16()["blocks.0.moe"].dtype == torch.float32
    for control in (TopPControl(2.0), SparsityControl(2)):
        assert all(isinstance(v, torch.Tensor) for v in control.state_dict().values())
