"""Expert choice in each sample and over the pool."""

import pytest
import torch

from mixtura.core import (
    ExpertChoice,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    SlotScore,
    SoftSlots,
    record_routing,
)
from mixtura.core.selections.expert_choice import take_best


def layer(selection: ExpertChoice, experts: int = 3, reserved: int = 0, **kwargs) -> MoELayer:
    torch.manual_seed(0)
    router = Router(LinearScore(6, experts, std=1.0), selection, reserved=reserved, **kwargs)
    return MoELayer(router, MLPExperts(experts + reserved, 6, 8))


def test_each_expert_takes_its_best_units_of_each_sample():
    moe, x = layer(ExpertChoice(1.0)), torch.randn(2, 7, 6)
    routing = moe.route(x)
    chosen = routing.chosen.view(2, 7, 3)
    scores = routing.scores.view(2, 7, 3)
    assert (chosen.sum(1) == 2).all()
    for sample, expert in ((s, e) for s in range(2) for e in range(3)):
        best = scores[sample, :, expert].topk(2).indices
        assert chosen[sample, best, expert].all()
    torch.testing.assert_close(routing.dense_weight, routing.scores * routing.chosen)


def test_samples_do_not_see_each_other_but_the_pool_does():
    moe, x = layer(ExpertChoice(1.0)), torch.randn(4, 6, 6)
    torch.testing.assert_close(moe(x)[:1], moe(x[:1]))
    pool = layer(ExpertChoice(1.0, over="pool"))
    assert pool.route(x).counts.tolist() == [8, 8, 8]
    assert not torch.allclose(pool(x)[:1], pool(x[:1]))


@pytest.mark.parametrize(("rounding", "count"), [("floor", 2), ("ceil", 3)])
def test_rounding(rounding, count):
    moe = layer(ExpertChoice(1.0, rounding=rounding))
    assert moe.route(torch.randn(1, 8, 6)).counts.tolist() == [count] * 3


def test_a_whole_number_is_not_rounded_up():
    best = take_best(torch.randn(100, 1), groups=1, capacity=0.55, rounding="ceil")
    masked = torch.ones(100, dtype=torch.bool)
    same = take_best(torch.randn(100, 1), groups=1, capacity=0.55, rounding="ceil", mask=masked)
    assert best.unit.shape[-1] == int(same.valid.sum()) == 55  # 100 * 0.55 > 55 in floating point


def test_an_expert_takes_at_least_one_unit_and_at_most_all():
    x = torch.randn(2, 4, 6)
    assert layer(ExpertChoice(0.01)).route(x).counts.tolist() == [2, 2, 2]
    assert layer(ExpertChoice(0.01, minimum=0)).route(x).counts.tolist() == [0, 0, 0]
    assert layer(ExpertChoice(50.0)).route(x).counts.tolist() == [8, 8, 8]


def test_softmax_over_the_units_of_a_sample():
    moe, x = layer(ExpertChoice(normalize="units"), activation="identity"), torch.randn(2, 6, 6)
    routing = moe.route(x)
    torch.testing.assert_close(routing.scores.view(2, 6, 3).sum(1), torch.ones(2, 3))
    expected = routing.logits.view(2, 6, 3).softmax(1).view(12, 3)
    torch.testing.assert_close(routing.scores, expected)
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[:, 4:] = False
    masked = moe.route(x, mask=mask)
    assert not masked.scores.view(2, 6, 3)[:, 4:].any()
    short = moe.route(x[:, :4])
    torch.testing.assert_close(masked.scores.view(2, 6, 3)[:, :4], short.scores.view(2, 4, 3))


def test_samples_that_are_forced_away_are_not_chosen_from():
    moe, x = layer(ExpertChoice(1.0), reserved=1), torch.randn(3, 6, 6, requires_grad=True)
    forced = torch.tensor([-1, 3, -1]).repeat_interleave(6)
    moe.train()
    with record_routing(moe) as record:
        y = moe(x, forced=forced)
    (routing,) = record.calls[""]
    assert routing.counts.tolist() == [4, 4, 4, 6]
    torch.testing.assert_close(y[1], moe.experts.one(3, x[1]))
    y.sum().backward()
    assert moe.router.score_function.weight.grad.abs().sum() > 0


def test_everything_forced_still_gives_every_parameter_a_gradient():
    moe, x = layer(ExpertChoice(1.0), reserved=1), torch.randn(2, 6, 6)
    moe(x, forced=torch.full((12,), 3)).sum().backward()
    assert all(p.grad is not None for p in moe.parameters())
    assert not moe.router.score_function.weight.grad.any()


def test_refuses_shares_that_are_not_equal():
    router = layer(ExpertChoice()).router
    by_units = layer(ExpertChoice(normalize="units")).router
    slots = Router(SlotScore(6, 3), SoftSlots(), activation="identity")
    for other in (by_units, slots):
        with pytest.raises(InputError, match="equal shares"):
            other(torch.randn(5, 6), num_samples=2)
    with pytest.raises(InputError, match="equal shares"):
        router(torch.randn(7, 6), num_samples=2)


@pytest.mark.parametrize("arguments", [{"capacity": 0.0}, {"minimum": -1}])
def test_refuses_impossible_capacities(arguments):
    with pytest.raises(InputError):
        ExpertChoice(**arguments)
