"""Cosine scores."""

import pytest
import torch
from torch.nn import functional as F

from mixtura.core import CosineScore, InputError, MLPExperts, MoELayer, Router, TopK


def test_plain_prototypes_give_cosines():
    score, x = CosineScore(6, 4), torch.randn(5, 6)
    logits, aux = score(x)
    expected = F.cosine_similarity(x[:, None], score.prototypes[None], dim=-1)
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(aux["prototypes"].norm(dim=-1), torch.ones(4))


def test_projection_and_temperature():
    score, x = CosineScore(6, 4, projection=3, temperature=0.5), torch.randn(5, 6)
    projected = x @ score.projection.weight.T
    expected = F.cosine_similarity(projected[:, None], score.prototypes[None], dim=-1) / 0.5
    torch.testing.assert_close(score(x)[0], expected)


def test_the_temperature_stops_falling():
    score = CosineScore(6, 4, temperature=0.5)
    with torch.no_grad():
        score.log_scale.fill_(50.0)
    assert score(torch.randn(5, 6))[0].abs().max() <= 100.001
    assert torch.equal(score(torch.zeros(1, 6))[0], torch.zeros(1, 4))


def test_weights_may_be_negative():
    router = Router(CosineScore(2, 1), TopK(1, renormalize="never"), activation="identity")
    x = -router.score_function.prototypes.detach()
    assert router(x).weight.item() == pytest.approx(-1.0)
    layer = MoELayer(router, MLPExperts(1, 2, 4))
    torch.testing.assert_close(layer(x), -layer.experts.one(0, x))


@pytest.mark.parametrize(
    "arguments", [{"dim": 0}, {"num_experts": 0}, {"projection": 0}, {"temperature": 0.001}]
)
def test_refuses_impossible_sizes(arguments):
    with pytest.raises(InputError):
        CosineScore(**{"dim": 4, "num_experts": 2} | arguments)
