"""Routers and gates in compiled code: one graph, the same numbers."""

import pytest
import torch

from mixtura.core import (
    All,
    CapacityPredictor,
    CosineScore,
    DeepMLPExperts,
    ExpertChoice,
    JointWithShared,
    LinearScore,
    LoRAExperts,
    MLPScore,
    MoELayer,
    PerTaskScore,
    PoolChoice,
    Router,
    TopK,
    combine,
)

ROUTERS = {
    "prototypes": (CosineScore(6, 3), TopK(1, renormalize="never"), "identity"),
    "expert_choice": (LinearScore(6, 3), ExpertChoice(1.0), "softmax"),
    "pool": (CapacityPredictor(LinearScore(6, 3), 6), PoolChoice(3), "softmax"),
}


@pytest.mark.compile
@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_is_one_graph(name):
    score, selection, activation = ROUTERS[name]
    router = Router(score, selection, activation=activation, reserved=1)
    x, forced = torch.randn(16, 6), torch.tensor([-1, 3]).repeat_interleave(8)
    expected = router(x, forced=forced, num_samples=2).dense_weight
    compiled = torch.compile(router, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, forced=forced, num_samples=2).dense_weight, expected)


@pytest.mark.compile
@pytest.mark.parametrize("task", [1, torch.tensor([0, 1]).repeat_interleave(8)])
def test_adaptive_shared_experts_are_one_graph(task):
    gates = PerTaskScore([LinearScore(6, 5), LinearScore(6, 5)])
    layer = MoELayer(Router(gates, JointWithShared(2, 1)), LoRAExperts(5, 6, 2))
    torch.nn.init.normal_(layer.experts.B)
    x = torch.randn(2, 8, 6)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, task=task), layer(x, task=task))


@pytest.mark.compile
def test_many_gates_are_one_graph():
    gates = PerTaskScore([MLPScore(6, 3), LinearScore(6, 2)], visible=[[0, 1, 2], [0, 2]])
    layer = MoELayer(Router(gates, All()), DeepMLPExperts(3, 6, [4], norm="batch"))

    def mixtures(x):
        outputs = layer.experts.all(x)
        return torch.stack([combine(outputs, layer.route(x, task=task)) for task in range(2)])

    x = torch.randn(16, 6)
    expected = mixtures(x)
    before = layer.experts.running_mean.clone()
    compiled = torch.compile(mixtures, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    assert not torch.equal(layer.experts.running_mean, before)
