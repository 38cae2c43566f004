"""Many gates over experts that are computed once."""

import pytest
import torch
from torch import nn

from mixtura.core import (
    All,
    DeepMLPExperts,
    ExpertGroups,
    InputError,
    LinearScore,
    MLPScore,
    MoELayer,
    PerTaskScore,
    Router,
    SampleUnits,
    combine,
    record_routing,
)


def mmoe() -> MoELayer:
    torch.manual_seed(0)
    gates = PerTaskScore([MLPScore(6, 3, [5]), MLPScore(6, 3, [5])])
    return MoELayer(Router(gates, All()), DeepMLPExperts(3, 6, [8, 4]))


def test_experts_are_computed_once_for_all_tasks():
    layer, x = mmoe(), torch.randn(7, 6)
    outputs = layer.experts.all(x)
    with record_routing(layer) as record:
        mixed = [combine(outputs, layer.route(x, task=task)) for task in range(2)]
    assert [call.aux["task"] for call in record.calls[""]] == [0, 1]
    for task, y in enumerate(mixed):
        gate = layer.router.score_function.scores[task]
        weights = (gate.hidden[0](x).relu() @ gate.output.weight.T).softmax(-1)
        expected = sum(weights[:, e, None] * layer.experts.one(e, x) for e in range(3))
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(layer(x, task=task), expected)


def test_a_gate_gives_nothing_to_experts_that_it_does_not_see():
    scores = [LinearScore(6, 2, std=1.0), LinearScore(6, 3, std=1.0)]
    gates = PerTaskScore(scores, visible=[[2, 0], [0, 1, 3]])
    router, x = Router(gates, All()), torch.randn(5, 6)
    first = router(x, task=0).dense_weight
    assert not first[:, [1, 3]].any()
    expected = (x @ scores[0].weight.T).softmax(-1)
    torch.testing.assert_close(first[:, [2, 0]], expected)
    task = torch.tensor([0, 1, 1, 0, 1])
    mixed = router(x, task=task)
    second = router(x, task=1).dense_weight
    expected = torch.where((task == 0)[:, None], first, second)
    torch.testing.assert_close(mixed.dense_weight, expected)
    assert mixed.counts.sum() == 2 * 2 + 3 * 3


def test_a_hidden_expert_is_not_computed():
    gates = PerTaskScore([LinearScore(6, 1)], visible=[[1]], num_experts=3)
    layer = MoELayer(Router(gates, All()), DeepMLPExperts(3, 6, [4], norm="batch"))
    layer(torch.randn(4, 6), task=0)
    moved = (layer.experts.running_var != 1).any(1)
    assert moved.tolist() == [False, True, False]


def test_groups_work_on_their_own_views():
    torch.manual_seed(0)
    banks = [DeepMLPExperts(2, 6, [4]), DeepMLPExperts(1, 6, [4])]
    experts = ExpertGroups([*banks, banks[1]], views=[0, 1, 0])
    x = torch.randn(5, 2, 6)
    outputs = experts.all(x)
    expected = [banks[0].all(x[:, 0]), banks[1].all(x[:, 1]), banks[1].all(x[:, 0])]
    torch.testing.assert_close(outputs, torch.cat(expected, 1))
    torch.testing.assert_close(experts.one(2, x), outputs[:, 2])
    gates = PerTaskScore([LinearScore(6, 4)])
    layer = MoELayer(Router(gates, All()), experts, units=SampleUnits(pool="none"))
    seen = torch.randn(5, 6)
    routing = layer.route(x, route_on=seen, task=0)
    torch.testing.assert_close(layer.compute(x, routing), combine(outputs, routing))


def test_batch_norm_as_torch_does_it():
    torch.manual_seed(0)
    experts = DeepMLPExperts(2, 6, [8, 4], norm="batch", output_activation="silu")
    x = torch.randn(9, 6)
    for expert in range(2):
        norm = nn.BatchNorm1d(4)
        first = x @ experts.weight[0][expert].T + experts.bias[0][expert]
        hidden = first.relu() @ experts.weight[1][expert].T + experts.bias[1][expert]
        torch.testing.assert_close(experts.one(expert, x), nn.SiLU()(norm(hidden)))
        torch.testing.assert_close(experts.running_mean[expert], norm.running_mean)
        torch.testing.assert_close(experts.running_var[expert], norm.running_var)
    other = DeepMLPExperts(2, 6, [8, 4], norm="batch", output_activation="silu")
    other.load_state_dict(
        {k: v for k, v in experts.state_dict().items() if "running" not in k}, strict=False
    )
    other.all(x)
    torch.testing.assert_close(other.running_var, experts.running_var)
    other.eval(), experts.eval()
    torch.testing.assert_close(other.all(x)[:, 1], experts.one(1, x))


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_other_norms_see_each_row_alone(norm):
    experts, x = DeepMLPExperts(2, 6, [4], norm=norm), torch.randn(3, 2, 6)
    torch.testing.assert_close(experts.one(1, x)[:1], experts.one(1, x[:1]))
    torch.testing.assert_close(experts.all(x)[:, 1], experts.one(1, x))


def test_refusals():
    with pytest.raises(InputError, match="at least two rows"):
        DeepMLPExperts(2, 6, [4], norm="batch").one(0, torch.randn(1, 6))
    with pytest.raises(InputError, match="different numbers"):
        PerTaskScore([LinearScore(6, 2), LinearScore(6, 3)])
    with pytest.raises(InputError, match="must see as many"):
        PerTaskScore([LinearScore(6, 2)], visible=[[0, 0]])
    with pytest.raises(InputError, match="raise num_experts"):
        PerTaskScore([LinearScore(6, 2)], visible=[[0, 4]], num_experts=3)
    with pytest.raises(InputError, match="one view for each"):
        ExpertGroups([DeepMLPExperts(2, 6, [4])], views=[0, 1])
    with pytest.raises(InputError, match="no widths"):
        DeepMLPExperts(2, 6, [])
