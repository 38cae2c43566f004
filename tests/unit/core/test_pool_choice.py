"""Pool choice with thresholds and a capacity predictor."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mixtura.core import (
    CapacityPrediction,
    CapacityPredictor,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    PoolChoice,
    Router,
    capacity_prediction,
    record_routing,
)


def layer(predictor: bool = True, **kwargs) -> MoELayer:
    torch.manual_seed(0)
    score = LinearScore(6, 3, std=1.0)
    losses = [CapacityPrediction()] if predictor else []
    if predictor:
        score = CapacityPredictor(score, 6)
    return MoELayer(Router(score, PoolChoice(3, 1.0, **kwargs)), MLPExperts(3, 6, 8), losses=losses)


def forward(moe: MoELayer, x: torch.Tensor):
    with record_routing(moe) as record:
        y = moe(x)
    (routing,) = record.calls[""]
    return y, routing


def test_training_takes_from_the_pool_and_moves_the_thresholds():
    moe, x = layer(), torch.randn(2, 6, 6)
    _, routing = forward(moe, x)
    assert routing.counts.tolist() == [4, 4, 4]
    last = routing.aux["capacity_logits"].sigmoid().topk(4, dim=0).values[-1]
    torch.testing.assert_close(moe.router.selection.threshold, 0.05 * last)


def test_without_a_predictor_the_scores_are_the_signal():
    moe, x = layer(predictor=False, decay=0.0), torch.randn(2, 6, 6)
    routing = moe.route(x)
    kth = routing.scores.topk(4, dim=0).values[-1]
    torch.testing.assert_close(moe.router.selection.threshold, kth)
    moe.eval()
    moe.router.selection.threshold.copy_(kth - 1e-6)
    torch.testing.assert_close(moe.route(x).dense_weight, routing.dense_weight)


@pytest.mark.parametrize("inference", ["topk_by_gate", "mask"])
def test_inference_by_thresholds(inference):
    moe, x = layer(inference=inference).eval(), torch.randn(2, 6, 6)
    moe.router.selection.threshold.fill_(0.5)
    _, routing = forward(moe, x)
    fires = routing.aux["capacity_logits"].sigmoid() > 0.5
    assert torch.equal(routing.counts, fires.sum(0))
    if inference == "mask":
        assert torch.equal(routing.chosen, fires)
        torch.testing.assert_close(moe(x)[:1], moe(x[:1]))
    else:
        for expert, count in enumerate(fires.sum(0).tolist()):
            best = routing.scores[:, expert].topk(count).indices
            assert routing.chosen[best, expert].all()


def test_inference_leaves_the_thresholds_alone_and_allows_gradients():
    moe, x = layer().eval(), torch.randn(2, 6, 6)
    before = moe.router.selection.threshold.clone()
    moe(x).sum().backward()
    assert torch.equal(moe.router.selection.threshold, before)
    assert moe.router.score_function.score.weight.grad.abs().sum() > 0


def test_padding_changes_nothing():
    moe, x = layer(), torch.randn(1, 12, 6)
    moe.losses = ()
    mask = torch.arange(12)[None] < 8
    padded = moe.route(x, mask=mask)
    after = moe.router.selection.threshold.clone()
    moe.router.selection.threshold.zero_()
    short = moe.route(x[:, :8])
    assert torch.equal(padded.chosen[:8], short.chosen)
    assert not padded.chosen[8:].any()
    torch.testing.assert_close(after, moe.router.selection.threshold)


def test_no_real_unit_leaves_the_thresholds_alone():
    moe = layer()
    moe.losses = ()
    moe.router.selection.threshold.fill_(0.3)
    moe.route(torch.randn(1, 6, 6), mask=torch.zeros(1, 6, dtype=torch.bool))
    assert torch.equal(moe.router.selection.threshold, torch.full((3,), 0.3))


def test_recomputing_moves_the_thresholds_once():
    moe, x = layer(), torch.randn(2, 6, 6, requires_grad=True)
    with record_routing(moe) as record:
        y = checkpoint(moe, x, use_reentrant=False)
        (y.sum() + sum(record.losses().values())).backward()
    after = moe.router.selection.threshold.clone()
    other = layer()
    forward(other, x)
    torch.testing.assert_close(after, other.router.selection.threshold)


def test_the_predictor_learns_and_disturbs_nothing():
    moe, x = layer(), torch.randn(2, 6, 6, requires_grad=True)
    _, routing = forward(moe, x)
    loss = capacity_prediction([routing])
    expected = F.binary_cross_entropy_with_logits(
        routing.aux["capacity_logits"], routing.chosen.float()
    )
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert x.grad is None or not x.grad.any()
    assert moe.router.score_function.output.weight.grad.abs().sum() > 0
    assert moe.router.score_function.score.weight.grad is None


def test_thresholds_stay_precise():
    assert layer().bfloat16().router.selection.threshold.dtype == torch.float32


def test_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="thresholds for 4 experts"):
        Router(LinearScore(6, 3), PoolChoice(4))(torch.randn(5, 6))
    with pytest.raises(InputError, match="needs a predictor"):
        capacity_prediction([Router(LinearScore(6, 3), PoolChoice(3))(torch.randn(5, 6))])
    with pytest.raises(InputError):
        PoolChoice(3, decay=1.0)
