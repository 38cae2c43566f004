import math

import pytest
import torch
from torch import nn

from mixtura.core import LinearScore, MLPExperts, MoELayer, Router, TopK, from_config, to_config
from mixtura.core.errors import InputError
from mixtura.training import (
    SGD,
    AdamW,
    Constant,
    ExponentialByEpoch,
    TorchOptimizer,
    WarmupCosine,
    parameter_groups,
)


def model() -> nn.Module:
    layer = MoELayer(Router(LinearScore(4, 3), TopK(1)), MLPExperts(3, 4, 8, bias=True))
    return nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), layer)


def test_groups_hold_each_parameter_once() -> None:
    net = model()
    net.append(net[1])  # used twice
    frozen = nn.Linear(4, 4).requires_grad_(False)
    net.append(frozen)
    groups = {group["name"]: group for group in parameter_groups(net, lr=1.0, weight_decay=0.1)}
    total = [p for group in groups.values() for p in group["params"]]
    assert len(total) == len({id(p) for p in total})
    assert {id(p) for p in total} == {id(p) for p in net.parameters() if p.requires_grad}
    assert {id(p) for p in groups["router"]["params"]} == {
        id(p) for p in net[2].router.parameters()
    }
    assert groups["decay"]["weight_decay"] == 0.1
    assert groups["no_decay"]["weight_decay"] == groups["router"]["weight_decay"] == 0.0
    assert any(p is net[1].weight for p in groups["decay"]["params"])
    assert all(p.ndim >= 2 for p in groups["decay"]["params"])
    for bias in (net[0].weight, net[0].bias, net[1].bias):
        assert any(p is bias for p in groups["no_decay"]["params"])
    stacked = [p for n, p in net[2].experts.named_parameters() if n.endswith("bias")]
    assert stacked
    assert all(any(p is b for p in groups["no_decay"]["params"]) for b in stacked)


def test_router_learning_rate() -> None:
    optimizer = AdamW(lr=1e-2, router_lr=1e-4).build(model())
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {"decay": 1e-2, "no_decay": 1e-2, "router": 1e-4}


def test_nothing_to_train() -> None:
    with pytest.raises(InputError, match="no parameter to train"):
        AdamW().build(model().requires_grad_(False))


@pytest.mark.parametrize(
    "optimizer",
    [
        AdamW(betas=[0.8, 0.9]),
        SGD(lr=0.1),
        TorchOptimizer("torch.optim.RAdam", arguments={"eps": 1e-6}),
    ],
)
def test_optimizer_from_configuration_steps(optimizer: AdamW | SGD | TorchOptimizer) -> None:
    again = from_config(to_config(optimizer))
    assert to_config(again) == to_config(optimizer)
    net = model()
    before = net[1].weight.detach().clone()
    built = again.build(net)
    net(torch.randn(5, 4)).square().sum().backward()
    built.step()
    assert not torch.equal(before, net[1].weight)


def test_wrong_optimizers() -> None:
    with pytest.raises(InputError, match="expected a torch optimiser"):
        TorchOptimizer("torch.nn.Linear")
    with pytest.raises(InputError, match="cannot be built"):
        TorchOptimizer("torch.optim.RAdam", arguments={"epss": 1}).build(model())
    with pytest.raises(InputError, match="two numbers"):
        AdamW(betas=[0.9])


def test_warmup_and_cosine() -> None:
    schedule = WarmupCosine(0.1, final=0.25)
    factors = [schedule.factor(step, 100, 0) for step in range(101)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert factors[100] == pytest.approx(0.25)
    assert WarmupCosine(5).factor(4, 100, 0) == 1.0
    assert WarmupCosine(0).factor(0, 100, 0) == 1.0


def test_other_schedules() -> None:
    assert Constant().factor(7, 10, 3) == 1.0
    assert [ExponentialByEpoch(0.5, 1).factor(0, 1, epoch) for epoch in range(4)] == [
        1,
        1,
        0.5,
        0.25,
    ]
    for wrong in (
        lambda: WarmupCosine(-1),
        lambda: WarmupCosine(final=2.0),
        lambda: ExponentialByEpoch(0.0),
    ):
        with pytest.raises(InputError):
            wrong()


def test_groups_keep_their_rates_under_a_schedule() -> None:
    optimizer = AdamW(lr=1.0, router_lr=0.1).build(model())
    scheduler = WarmupCosine(0.5).build(optimizer, total=4, steps_per_epoch=4)
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.5, 0.5, 0.05])
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.0, 1.0, 0.1])
