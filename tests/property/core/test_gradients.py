"""Gradients against finite differences, in float64, from the input to the output."""

import pytest
import torch

from mixtura.core import GLUExperts, MLPExperts, MoELayer
from mixtura.core.testing import ROUTERS, RouterCase

JUMPS = {
    "top_any": "the gradient is straight-through",
    "hard_weights": "the gradient is straight-through",
    "st_moe": "the gradient is straight-through",
    "mixture_model": "the router is detached",
    "kmeans": "the centroids move",
    "random": "it tosses",
    "pool_choice": "its predictor is detached",
    "gatepro": "the losers' penalty jumps",
}


@pytest.mark.parametrize(
    "case", [case for case in ROUTERS if case.name not in JUMPS], ids=lambda case: case.name
)
@pytest.mark.parametrize("experts", [MLPExperts, GLUExperts], ids=["mlp", "glu"])
def test_gradients(case: RouterCase, experts) -> None:
    torch.manual_seed(0)
    router = case.seeded()
    layer = MoELayer(router, experts(router.num_experts, 8, 4, activation="gelu"))
    layer = layer.double().eval()
    x = case.inputs(5).double().requires_grad_()
    context = case.context(5, router.num_experts)
    assert torch.autograd.gradcheck(lambda rows: layer(rows, **context), x, atol=1e-4)
