"""What the gates and experts of this family are built from can be written down and built again."""

import pytest
import torch

from mixtura.core import (
    All,
    CapacityPrediction,
    CapacityPredictor,
    CosineScore,
    DeepMLPExperts,
    ExpertChoice,
    ExpertGroups,
    JointWithShared,
    LinearScore,
    LoRAExperts,
    MLPExperts,
    MLPScore,
    MoELayer,
    MutualInformation,
    PerTaskScore,
    PoolChoice,
    Router,
    RoutingContrastive,
    SharedExpert,
    from_config,
    to_config,
)

LAYERS = {
    "promoe": lambda: MoELayer(
        Router(CosineScore(6, 3), ExpertChoice(1.0), activation="identity", reserved=1),
        MLPExperts(4, 6, 8),
        shared=SharedExpert(MLPExperts(1, 6, 8)),
        losses=[RoutingContrastive(per_sample=True)],
    ),
    "diffmoe": lambda: MoELayer(
        Router(CapacityPredictor(LinearScore(6, 3), 6), PoolChoice(3)),
        MLPExperts(3, 6, 8),
        losses=[CapacityPrediction()],
    ),
    "ase": lambda: MoELayer(
        Router(PerTaskScore([LinearScore(6, 5)] * 2), JointWithShared(2, 1)),
        LoRAExperts(5, 6, 2),
        losses=[MutualInformation(num_tasks=2)],
    ),
    "home": lambda: MoELayer(
        Router(
            PerTaskScore([MLPScore(6, 3), LinearScore(6, 2)], visible=[[0, 1, 2], [0, 2]]), All()
        ),
        ExpertGroups([DeepMLPExperts(2, 6, [4], norm="batch"), DeepMLPExperts(1, 6, [4])]),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_configuration_and_weights_go_round(name):
    layer = LAYERS[name]()
    tree = to_config(layer)
    again = from_config(tree)
    assert to_config(again) == tree
    again.load_state_dict(layer.state_dict())
    for key, value in layer.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


def test_a_bank_of_shared_experts_adds_its_outputs():
    bank, x = MLPExperts(3, 6, 8), torch.randn(2, 5, 6)
    expected = sum(bank.one(e, x) for e in range(3))
    torch.testing.assert_close(SharedExpert(bank)(x), expected)
    torch.testing.assert_close(SharedExpert(bank, factor=0.5)(x), 0.5 * expected)
