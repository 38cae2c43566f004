"""What may happen between scores and choice."""

import itertools

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mixtura.core import (
    BalanceBias,
    BalancedAssignment,
    BiasBalance,
    Forbid,
    GatePro,
    GroupLimit,
    GumbelNoise,
    InputError,
    LayerStatistics,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    Sinkhorn,
    TopK,
    edit_routing,
    record_routing,
    routers,
    sinkhorn,
)
from mixtura.core.adjustments.balanced_assignment import balanced_assignment


def identity(experts: int) -> LinearScore:
    score = LinearScore(experts, experts)
    score.weight.data.copy_(torch.eye(experts))
    return score


def test_the_bias_moves_the_choice_and_never_the_weight() -> None:
    bias = BalanceBias(3)
    router = Router(identity(3), TopK(1, renormalize="never"), adjustments=[bias])
    x = torch.tensor([[2.0, 1.0, 0.0]])
    plain = router(x).scores
    bias.bias.copy_(torch.tensor([-1.0, 0.0, 0.0]))
    routing = router(x)
    assert routing.index.tolist() == [[1]]
    torch.testing.assert_close(routing.weight, plain[:, 1])


def test_the_bias_survives_half_precision() -> None:
    bias = BalanceBias(2)
    bias.bias.copy_(torch.tensor([1.0, 1.0 + 1e-4]))
    expected = bias.bias.clone()
    assert torch.equal(bias.bfloat16().bias, expected)
    assert torch.equal(bias.to(torch.float64).bias, expected)


def test_balance_without_a_loss() -> None:
    torch.manual_seed(0)
    router = Router(
        LinearScore(8, 8, std=1.0),
        TopK(2),
        activation="sigmoid",
        adjustments=[BalanceBias(8)],
    ).eval()
    shift = torch.randn(8)
    control = BiasBalance(0.01, zero_mean=True)
    seen = []
    for _ in range(800):
        with torch.no_grad():
            statistics = LayerStatistics.of([router(torch.randn(256, 8) + shift)])
        control.step({"": router}, {"": statistics})
        seen.append(statistics)
    final = sum(seen[-50:-1], start=seen[-1])
    assert float(seen[0].max_violation) > 0.5
    assert float(final.max_violation) < 0.1


def test_the_bias_stops_and_skips() -> None:
    router = Router(identity(2), TopK(1), adjustments=[BalanceBias(2)])
    statistics = LayerStatistics.of([router(torch.tensor([[1.0, 0.0]]).repeat(4, 1))])
    for control in (BiasBalance(0.1, until_step=0), BiasBalance(0.1, min_units=5)):
        control.step({"": router}, {"": statistics})
    router.freeze()
    BiasBalance(0.1).step({"": router}, {"": statistics})
    assert router.adjustments[0].bias.tolist() == [0.0, 0.0]
    router.unfreeze()
    BiasBalance(0.1, update="proportional").step({"": router}, {"": statistics})
    torch.testing.assert_close(router.adjustments[0].bias, torch.tensor([-0.1, 0.1]))


def test_counts_are_right_under_accumulation_and_checkpointing() -> None:
    torch.manual_seed(0)
    layer = MoELayer(
        Router(LinearScore(4, 4), TopK(2), adjustments=[BalanceBias(4)]), MLPExperts(4, 4, 8)
    )
    with record_routing(layer) as record:
        for _ in range(3):
            x = torch.randn(5, 4, requires_grad=True)
            checkpoint(layer, x, use_reentrant=False).sum().backward()
    (statistics,) = record.statistics().values()
    assert int(statistics.num_units) == 15
    assert int(statistics.counts.sum()) == 30
    BiasBalance(0.01).step(routers(layer), record.statistics())
    assert layer.router.adjustments[0].bias.abs().max() <= 0.01 + 1e-9


@pytest.mark.parametrize(
    ("score", "k", "group"), [("max", None, 0), ("top2", None, 1), ("topk_over_groups", 2, 1)]
)
def test_groups_are_scored_in_three_ways(score: str, k: int | None, group: int) -> None:
    limit = GroupLimit(2, 1, score=score, k=k)
    router = Router(identity(4), TopK(2), activation="sigmoid", adjustments=[limit])
    x = torch.tensor([[3.0, -3.0, 2.0, 1.0]])
    assert sorted(router(x).index[0].tolist()) == [2 * group, 2 * group + 1]


def test_an_expert_outside_the_groups_cannot_win() -> None:
    bias = BalanceBias(4)
    bias.bias.copy_(torch.tensor([-5.0, -5.0, -9.0, -9.0]))
    router = Router(
        identity(4), TopK(2), activation="sigmoid", adjustments=[bias, GroupLimit(2, 1)]
    )
    assert sorted(router(torch.zeros(1, 4)).index[0].tolist()) == [0, 1]


def test_impossible_groups_are_refused() -> None:
    with pytest.raises(InputError, match="groups of equal size"):
        Router(identity(5), TopK(1), adjustments=[GroupLimit(2, 1)])
    with pytest.raises(InputError, match="keep more groups or lower k"):
        Router(identity(4), TopK(3), adjustments=[GroupLimit(2, 1)])


def gatepro_router(penalty: float, mode: str = "subtract", **kwargs) -> Router:
    torch.manual_seed(1)
    router = Router(
        LinearScore(6, 5, std=1.0), TopK(2), adjustments=[GatePro(penalty, mode=mode, **kwargs)]
    )
    weight = router.score_function.weight.data
    weight[3] = weight[1] + 0.01 * torch.randn(6)
    return router


@pytest.mark.parametrize(("mode", "penalty"), [("subtract", 1e6), ("scale", 0.0)])
def test_the_most_similar_pair_never_works_together(mode: str, penalty: float) -> None:
    chosen = gatepro_router(penalty, mode)(torch.randn(256, 6)).chosen
    assert not (chosen[:, 1] & chosen[:, 3]).any()
    free = gatepro_router(0.0)(torch.randn(256, 6)).chosen
    assert (free[:, 1] & free[:, 3]).any()


def test_no_penalty_is_the_identity() -> None:
    x = torch.randn(64, 6)
    router = gatepro_router(0.0)
    plain = Router(router.score_function, TopK(2))
    assert torch.equal(router(x).dense_weight, plain(x).dense_weight)


def test_the_gradient_to_the_gate_comes_through_the_scores_alone() -> None:
    x = torch.randn(32, 6)
    router = gatepro_router(1e-3)
    plain = Router(router.score_function, TopK(2))
    gradients = []
    for one in (router, plain):
        (gradient,) = torch.autograd.grad(
            one(x).logits.square().sum(), router.score_function.weight
        )
        gradients.append(gradient)
    torch.testing.assert_close(*gradients, atol=2e-2, rtol=1e-2)


def test_original_weights_with_transformed_choice() -> None:
    x = torch.randn(64, 6)
    for mode, penalty in (("subtract", 1e6), ("scale", 0.0)):
        router = gatepro_router(penalty, mode, weights_from="original")
        routing = router(x)
        chosen = routing.chosen
        assert not (chosen[:, 1] & chosen[:, 3]).any()
        softmax = router.score_function(x)[0].softmax(-1)
        torch.testing.assert_close(routing.scores, softmax)


def test_equal_logits_penalise_nobody() -> None:
    router = gatepro_router(1.0)
    assert torch.equal(router(torch.zeros(3, 6)).logits, torch.zeros(3, 5))


def test_the_most_similar_experts_may_be_looked_for_now_and_then() -> None:
    router = gatepro_router(1e6, every_n_steps=3)
    x = torch.randn(64, 6)
    before = router(x).chosen
    weight = router.score_function.weight.data
    weight[3] = -weight[3]  # now 1 and 3 are anything but similar
    for chosen in (before, router(x).chosen, router(x).chosen):
        assert not (chosen[:, 1] & chosen[:, 3]).any()
    fresh = gatepro_router(1e6)
    fresh.score_function.weight.data.copy_(weight)
    assert torch.equal(router(x).chosen, fresh(x).chosen)
    assert torch.equal(router.eval()(x).chosen, fresh(x).chosen)


def test_gatepro_needs_gate_vectors() -> None:
    from mixtura.core import RandomScore

    with pytest.raises(InputError, match="gate vectors"):
        Router(RandomScore(4), TopK(1), adjustments=[GatePro()])


def test_sinkhorn_rows_and_columns() -> None:
    spread = sinkhorn(torch.randn(32, 4))
    torch.testing.assert_close(spread.sum(1), torch.full((32,), 1 / 32), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(spread.sum(0), torch.full((4,), 1 / 4), atol=1e-3, rtol=1e-3)
    mask = torch.arange(32) < 20
    masked = sinkhorn(torch.randn(32, 4), mask)
    assert (masked[20:] == 0).all()
    torch.testing.assert_close(masked.sum(0), torch.full((4,), 1 / 4), atol=1e-3, rtol=1e-3)


def test_sinkhorn_spreads_in_training_only() -> None:
    torch.manual_seed(0)
    router = Router(
        LinearScore(8, 4, std=1.0),
        TopK(1, renormalize="never"),
        activation="sigmoid",
        adjustments=[Sinkhorn()],
    )
    x = torch.randn(400, 8) + torch.randn(8)
    before = LayerStatistics.of([router.eval()(x)]).max_violation
    after = LayerStatistics.of([router.train()(x)]).max_violation
    assert float(after) < 0.5 * float(before)


def test_a_balanced_assignment_is_even_and_best() -> None:
    torch.manual_seed(0)
    for units, experts in ((6, 3), (8, 2), (7, 3)):
        logits = torch.randn(units, experts, dtype=torch.float64)
        room = -(-units // experts)
        found = balanced_assignment(logits, precision=1e-6)
        assert found.bincount(minlength=experts).max() <= room
        value = logits.gather(1, found[:, None]).sum()
        best = max(
            sum(float(logits[u, e]) for u, e in enumerate(choice))
            for choice in itertools.product(range(experts), repeat=units)
            if max(choice.count(e) for e in range(experts)) <= room
        )
        assert float(value) >= best - 1e-3


@pytest.mark.parametrize(("units", "experts", "scale"), [(96, 8, 1.0), (101, 7, 1.0), (64, 4, 0)])
def test_a_balanced_assignment_is_as_good_as_the_hungarian_method(
    units: int, experts: int, scale: float
) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    torch.manual_seed(units)
    logits = scale * torch.randn(units, experts, dtype=torch.float64)
    room = -(-units // experts)
    places = logits.repeat_interleave(room, 1)
    best = places[optimize.linear_sum_assignment(places.numpy(), maximize=True)].sum()
    found = balanced_assignment(logits, precision=1e-4)
    assert found.bincount(minlength=experts).max() <= room
    value = logits.gather(1, found[:, None]).sum()
    allowed = 1e-4 * units * (logits.max() - logits.min())
    assert best - allowed - 1e-9 <= value <= best + 1e-9


def test_assignments_of_many_units_and_of_forbidden_experts_come_to_an_end() -> None:
    torch.manual_seed(0)
    alike = torch.randn(32) + 1e-3 * torch.randn(2048, 32)
    assert balanced_assignment(alike).bincount().tolist() == [64] * 32
    logits = torch.randn(12, 3).masked_fill(torch.tensor([True, False, False]), -torch.inf)
    assert balanced_assignment(logits).bincount(minlength=3).max() <= 4
    layer = Router(
        LinearScore(4, 3), TopK(1, renormalize="never"), adjustments=[BalancedAssignment()]
    )
    with edit_routing(layer, Forbid([0])):
        assert int(layer(torch.randn(12, 4)).counts[0]) == 0


def test_base_layers_take_one_expert() -> None:
    with pytest.raises(InputError, match="one expert per unit"):
        Router(identity(4), TopK(2), adjustments=[BalancedAssignment()])
    router = Router(
        identity(4),
        TopK(1, renormalize="never"),
        activation="sigmoid",
        adjustments=[BalancedAssignment()],
    )
    x = torch.tensor([[3.0, 0.0, 0.0, 0.0]]).repeat(8, 1)
    routing = router.train()(x)
    assert routing.counts.tolist() == [2, 2, 2, 2]
    torch.testing.assert_close(routing.weight, torch.sigmoid(x).gather(1, routing.index)[:, 0])
    assert router.eval()(x).counts.tolist() == [8, 0, 0, 0]


def test_gumbel_noise_samples_by_the_scores() -> None:
    torch.manual_seed(0)
    router = Router(identity(3), TopK(1, renormalize="never"), adjustments=[GumbelNoise()])
    x = torch.tensor([[0.7, 0.2, 0.1]]).log().repeat(20000, 1)
    shares = router.train()(x).counts / 20000
    torch.testing.assert_close(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.02, rtol=0)
    assert router.eval()(x).counts.tolist() == [20000, 0, 0]
