"""Capacity, random drops, weights on inputs."""

import pytest
import torch

from mixtura.core import (
    Capacity,
    ExpertChoice,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    RandomDrop,
    Router,
    Scored,
    StraightThrough,
    TopK,
    WeightInputs,
)


def decide(selection, logits: list[list[float]], samples: int = 1):
    logits = torch.tensor(logits)
    scored = Scored(logits, logits.softmax(-1), num_samples=samples)
    return selection(scored, num_experts=logits.shape[-1])


FIRST = [[2.0, 1.0], [3.0, 1.0], [4.0, 1.0], [1.0, 2.0]]


def test_first_choices_come_before_second_ones() -> None:
    routing = decide(Capacity(TopK(2), 1.0), FIRST)
    assert routing.aux["capacity"] == 2
    assert routing.index.tolist() == [[0, 1], [0, 1], [0, 1], [1, 0]]
    assert routing.aux["slot"].tolist() == [[0, 1], [1, -1], [-1, -1], [0, -1]]
    assert routing.counts.tolist() == [2, 2]
    assert int(routing.aux["dropped"]) == 4


def test_weights_stay_as_they_were() -> None:
    full, limited = decide(TopK(2), FIRST), decide(Capacity(TopK(2), 1.0), FIRST)
    kept = limited.valid
    assert torch.equal(limited.weight.view_as(kept)[kept], full.weight.view_as(kept)[kept])
    assert (limited.weight.view_as(kept)[~kept] == 0).all()


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("unit", [0, 1]), ("weight", [1, 2]), ("priority", [1, 2]), ("choice", [0, 1])],
)
def test_who_is_kept(policy: str, kept: list[int]) -> None:
    routing = decide(Capacity(TopK(1, renormalize="never"), 1.0, policy=policy), FIRST)
    assert routing.chosen[:, 0].nonzero().flatten().tolist() == kept


def test_queues_per_sample_and_rules() -> None:
    capacity = Capacity(TopK(1), 1.0, per="sample")
    routing = decide(capacity, FIRST, samples=2)
    assert routing.aux["capacity"] == 1
    assert routing.chosen.tolist() == [[True, False], [False, False], [True, False], [False, True]]
    assert Capacity(TopK(2), 1.0, rule="choices").capacity(30, 4, 16) == 8
    assert Capacity(TopK(2), 1.25, minimum=4).capacity(12, 2, 4) == 4
    assert Capacity(TopK(2), 1.25, eval_factor=2.0).eval().capacity(12, 2, 4) == 6


def test_a_list_of_assignments_has_no_queue() -> None:
    with pytest.raises(InputError, match="what units choose"):
        decide(Capacity(ExpertChoice(1.0, over="pool")), FIRST)


def test_random_drops_keep_first_choices_and_likely_ones() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([[0.9, 0.1]]).log().repeat(5000, 1)
    selection = RandomDrop(TopK(2), 0.2)
    scored = Scored(logits, logits.softmax(-1))
    routing = selection.train()(scored, num_experts=2)
    assert int(routing.counts[0]) == 5000
    assert abs(int(routing.counts[1]) / 5000 - 0.5) < 0.03
    assert selection.eval()(scored, num_experts=2).counts.tolist() == [5000, 5000]


def test_weights_on_the_inputs() -> None:
    torch.manual_seed(0)
    experts = MLPExperts(3, 4, 8)
    score = LinearScore(4, 3, std=1.0)
    layer = MoELayer(Router(score, WeightInputs(TopK(2))), experts)
    x = torch.randn(5, 4)
    weight = Router(score, TopK(2))(x).dense_weight
    expected = sum(
        experts.one(e, x * weight[:, e : e + 1]) * (weight[:, e : e + 1] > 0) for e in range(3)
    )
    torch.testing.assert_close(layer(x), expected)


def test_straight_through_changes_the_gradient_only() -> None:
    torch.manual_seed(0)
    experts = MLPExperts(3, 4, 8)
    score = LinearScore(4, 3, std=1.0)
    x = torch.randn(5, 4)
    gradients = []
    for selection in (TopK(2), StraightThrough(TopK(2))):
        y = MoELayer(Router(score, selection), experts)(x)
        gradients.append(torch.autograd.grad(y.square().sum(), score.weight)[0])
        gradients.append(y)
    torch.testing.assert_close(gradients[1], gradients[3])
    assert not torch.allclose(gradients[0], gradients[2])
