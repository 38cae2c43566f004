"""Selections whose size differs, and those for debugging."""

import pytest
import torch

from mixtura.core import (
    ForceBalanced,
    GroupLimit,
    InputError,
    LinearScore,
    Percentile,
    Positive,
    Router,
    Scored,
    Threshold,
    TopK,
    TopP,
    UnitWeights,
)


def scored(*rows: list[float]) -> Scored:
    scores = torch.tensor(rows)
    return Scored(scores, scores)


def test_positive_scores_are_weights() -> None:
    routing = Positive()(scored([0.0, 2.0, 1.0], [0.0, 0.0, 0.0]), num_experts=3)
    assert routing.dense_weight.tolist() == [[0.0, 2.0, 1.0], [0.0, 0.0, 0.0]]
    assert routing.counts.tolist() == [0, 1, 1]
    capped = Positive(max_k=1)(scored([0.5, 2.0, 1.0]), num_experts=3)
    assert capped.dense_weight.tolist() == [[0.0, 2.0, 0.0]]


def test_a_fixed_threshold() -> None:
    routing = Threshold(0.3)(scored([0.3, 0.4, 0.3], [0.1, 0.2, 0.7]), num_experts=3)
    assert routing.chosen.tolist() == [[False, True, False], [False, False, True]]
    shared = Threshold(0.2, renormalize=True)(scored([0.1, 0.3, 0.6]), num_experts=3)
    torch.testing.assert_close(shared.dense_weight, torch.tensor([[0.0, 1 / 3, 2 / 3]]))


def test_the_percentile_of_a_unit_gives_everyone_the_same_number() -> None:
    torch.manual_seed(0)
    scores = torch.rand(20, 8).softmax(-1)
    for tau, count in ((0.0, 8), (0.5, 4), (0.75, 2), (1.0, 1)):
        routing = Percentile(tau, scope="unit")(Scored(scores, scores), num_experts=8)
        assert routing.chosen.sum(-1).tolist() == [count] * 20


def test_the_percentile_of_the_batch_differs_and_is_remembered() -> None:
    torch.manual_seed(0)
    scores = (3 * torch.randn(400, 8)).softmax(-1)
    selection = Percentile(0.75, max_k=3).train()
    routing = selection(Scored(scores, scores), num_experts=8)
    active = routing.chosen.sum(-1)
    assert active.min() == 1
    assert 1.5 < active.float().mean() < 2.1
    assert active.max() <= 3
    torch.testing.assert_close(routing.dense_weight.sum(-1), torch.ones(400))
    torch.testing.assert_close(selection.quantile, scores.quantile(0.75), atol=1e-3, rtol=0)
    alone = selection.eval()(Scored(scores[:1], scores[:1]), num_experts=8)
    assert torch.equal(alone.chosen[0], routing.chosen[0])


@pytest.mark.parametrize("scope", ["batch", "unit"])
def test_the_percentile_is_one_of_the_experts_in_reach(scope) -> None:
    torch.manual_seed(0)
    limited = Router(
        LinearScore(4, 8, std=1.0), Percentile(0.5, scope=scope), adjustments=[GroupLimit(4, 1)]
    )
    x = torch.randn(50, 4)
    for _ in range(3):
        routing = limited(x)
    best = routing.scores.view(50, 4, 2).topk(2, -1).values.sum(-1).argmax(-1)
    inside = routing.scores.view(50, 4, 2)[torch.arange(50), best]
    if scope == "unit":
        assert routing.chosen.sum(-1).tolist() == [1] * 50
    else:
        middle = inside.flatten().kthvalue(51).values
        torch.testing.assert_close(limited.selection.quantile, middle)
        expected = ((inside >= middle).sum(-1)).clamp_min(1)
        assert routing.chosen.sum(-1).tolist() == expected.tolist()


@pytest.mark.parametrize("selection", [TopP(0.9), TopP(1.0, renormalize=True), Threshold(-1.0)])
def test_thresholds_do_not_reach_outside_of_the_kept_groups(selection) -> None:
    torch.manual_seed(0)
    limited = Router(LinearScore(4, 8), selection, adjustments=[GroupLimit(4, 1)])
    assert int(limited(torch.randn(50, 4)).chosen.sum(-1).max()) == 2


def test_round_robin() -> None:
    routing = ForceBalanced(2)(scored([0.1, 0.3, 0.6], [0.2, 0.2, 0.6]), num_experts=3)
    assert routing.index.tolist() == [[0, 1], [2, 0]]
    torch.testing.assert_close(routing.weight, torch.tensor([0.25, 0.75, 0.75, 0.25]))
    with pytest.raises(InputError, match="at most the number of experts"):
        Router(LinearScore(2, 3), ForceBalanced(4))


def test_equal_weights() -> None:
    routing = UnitWeights(TopK(2), 1.5)(scored([0.1, 0.3, 0.6]), num_experts=3)
    assert routing.dense_weight.tolist() == [[0.0, 1.5, 1.5]]
