"""Controllers: sparsity, frozen gates, stages."""

import pytest
import torch
from torch import nn

from mixtura.core import (
    ActiveScores,
    GateFreeze,
    InputError,
    LayerStatistics,
    LinearScore,
    MLPExperts,
    MoELayer,
    Positive,
    Router,
    SparsityControl,
    Stage,
    StagedTraining,
    TopK,
    record_routing,
    routers,
)


def test_relu_routing_reaches_its_sparsity() -> None:
    torch.manual_seed(0)
    layer = MoELayer(
        Router(
            LinearScore(8, 8, std=0.5, bias=True), Positive(coefficient=1e-4), activation="relu"
        ),
        MLPExperts(8, 8, 8),
        losses=[ActiveScores(2)],
    )
    target = nn.Linear(8, 8)
    control = SparsityControl(2, factor=1.1)
    optimizer = torch.optim.Adam(layer.parameters(), 1e-2)
    active = []
    for _ in range(400):
        x = torch.randn(64, 8)
        with record_routing(layer) as record:
            error = (layer(x) - target(x)).square().mean()
        loss = error + sum(record.losses().values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        control.step(routers(layer), record.statistics())
        active.append(float(record.statistics()[""].mean_active))
    assert active[0] > 3.5
    assert abs(sum(active[-100:]) / 100 - 2) < 0.3
    coefficient = layer.router.selection.coefficient
    assert coefficient > 1e-4
    assert layer.bfloat16().router.selection.coefficient.dtype == torch.float32


def small() -> MoELayer:
    torch.manual_seed(0)
    return MoELayer(
        Router(LinearScore(4, 3, std=3.0), TopK(1, renormalize="never")), MLPExperts(3, 4, 8)
    )


def test_a_frozen_gate_does_not_move_by_a_bit() -> None:
    layer = small()
    optimizer = torch.optim.AdamW(layer.parameters(), 0.01, weight_decay=0.1)
    freeze = GateFreeze(5, margin=0.1)
    gate, experts = [], []
    for step in range(110):
        with record_routing(layer) as record:
            layer(torch.randn(32, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        freeze.step(routers(layer), record.statistics())
        assert layer.router.frozen == (step >= 4)
        gate.append(layer.router.score_function.weight.detach().clone())
        experts.append(layer.experts.up.detach().clone())
    assert not torch.equal(gate[0], gate[3])
    assert all(torch.equal(g, gate[5]) for g in gate[5:])
    assert not torch.equal(experts[5], experts[-1])
    freeze.new_task(routers(layer))
    assert layer.router.score_function.weight.requires_grad
    assert int(freeze.steps) == 0


def test_freezing_by_the_churn_of_a_probe() -> None:
    layer = small()
    freeze = GateFreeze(0, criterion="churn", churn=0.1, patience=2)
    named = routers(layer)
    first = {"": torch.tensor([0, 1, 2, 0])}
    freeze.probe(named, first)
    freeze.probe(named, {"": torch.tensor([1, 1, 2, 0])})
    freeze.probe(named, {"": torch.tensor([1, 1, 2, 0])})
    assert not layer.router.frozen
    freeze.probe(named, {"": torch.tensor([1, 1, 2, 0])})
    assert layer.router.frozen


def test_a_wide_margin_is_waited_for() -> None:
    layer = small()
    freeze = GateFreeze(0, margin=1e6)
    freeze.step(routers(layer), {"": LayerStatistics.of([layer.route(torch.randn(4, 4))])})
    assert not layer.router.frozen
    freeze.freeze(routers(layer))
    assert layer.router.frozen


def test_stages_train_what_they_name() -> None:
    model = nn.ModuleDict({"attention": nn.Linear(2, 2), "expert": nn.Linear(2, 2)})
    staged = StagedTraining(
        [
            Stage(until_step=2, frozen=["attention"], normalize_gradient=True),
            Stage(until_below=0.5, trainable=["attention"], reset_optimizer=True),
            Stage(),
        ]
    )
    optimizer = torch.optim.Adam(model.parameters())
    staged.begin(model, optimizer)
    learns = []
    for metric in (1.0, 1.0, 1.0, 0.1, 0.1):
        optimizer.zero_grad()
        x = model["expert"](model["attention"](torch.ones(1, 2)))
        x.square().sum().backward()
        staged.before_step(model)
        if int(staged.position) == 0:
            norm = torch.stack([p.grad.norm() for p in model["expert"].parameters()]).norm()
            torch.testing.assert_close(norm, torch.tensor(1.0))
        learns.append([p.requires_grad for p in model.parameters()][::2])
        optimizer.step()
        staged.after_step(model, optimizer, metric=metric)
    assert learns == [[False, True]] * 2 + [[True, False]] * 2 + [[True, True]]
    other = StagedTraining(staged.stages)
    other.load_state_dict(staged.state_dict())
    assert int(other.position) == 2
    with pytest.raises(InputError, match="needs an end"):
        StagedTraining([Stage(), Stage()])
    with pytest.raises(InputError, match="no parameter matches"):
        StagedTraining([Stage(trainable=["nothing"])]).begin(model)
