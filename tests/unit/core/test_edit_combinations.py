"""Edits beside the other parts of a router: whatever is combined, what the edit says holds."""

import pytest
import torch

from mixtura.core import (
    ChooseK,
    ExpertChoice,
    Forbid,
    ForceBalanced,
    ForceMembers,
    GroupLimit,
    InputError,
    JointWithShared,
    LinearScore,
    MLPExperts,
    MoELayer,
    MultiplyWeights,
    OffsetLogits,
    OverrideScores,
    Percentile,
    Router,
    Selection,
    SlotScore,
    SoftSlots,
    TopK,
    edit_routing,
)

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
SCORES = torch.tensor([0.1, 0.2, 0.3, 0.4])


def router(selection: Selection, experts: int = 4, **kwargs) -> Router:
    torch.manual_seed(1)
    return Router(LinearScore(8, experts, std=1.0), selection, **kwargs)


@pytest.mark.parametrize(
    ("selection", "activation", "expected"),
    [
        (TopK(2, renormalize="softmax"), "softmax", [0, 0, 3 / 7, 4 / 7]),
        (TopK(2, renormalize="softmax"), "identity", [0, 0, 0.4750208, 0.5249792]),
        (JointWithShared(1, 1), "softmax", [0, 0, 3 / 7, 4 / 7]),
    ],
)
def test_weights_come_from_the_new_scores_even_where_they_are_a_softmax_of_logits(
    selection: Selection, activation, expected: list[float]
) -> None:
    one = router(selection, activation=activation)
    with edit_routing(one, OverrideScores(SCORES)):
        routing = one(X)
    torch.testing.assert_close(routing.dense_weight, torch.tensor([expected] * 6))


def test_experts_choose_by_the_new_scores_where_they_normalise_over_the_units() -> None:
    one = router(ExpertChoice(2.0, normalize="units"))
    new = torch.rand(6, 4)
    with edit_routing(one, OverrideScores(new)):
        routing = one(X)
    shares = new / new.sum(0)
    best = torch.zeros(6, 4).scatter(0, new.topk(3, dim=0).indices, 1.0)
    torch.testing.assert_close(routing.dense_weight, shares * best)


def test_more_choices_do_not_leave_the_kept_groups() -> None:
    one = router(TopK(2), experts=8, adjustments=[GroupLimit(4, 2)])
    with edit_routing(one, ChooseK(6)):
        routing = one(X)
    assert routing.chosen.sum(-1).tolist() == [4] * 6
    assert routing.chosen.view(6, 4, 2).all(-1).sum(-1).tolist() == [2] * 6


def test_members_that_find_no_place_are_refused() -> None:
    one = router(TopK(2))
    with (
        edit_routing(one, ForceMembers([0, 1, 2])),
        pytest.raises(InputError, match="raise k with ChooseK"),
    ):
        one(X)
    with edit_routing(one, ForceMembers([0, 1, 2]), ChooseK(3)):
        assert one(X).chosen[:, :3].all()


@pytest.mark.parametrize("edit", [Forbid([1]), OverrideScores(SCORES), MultiplyWeights({1: 0.0})])
def test_a_soft_router_refuses_edits_about_units(edit) -> None:
    soft = Router(SlotScore(8, 4, 2), SoftSlots(2), activation="identity")
    layer = MoELayer(soft, MLPExperts(4, 8, 16))
    with edit_routing(layer, edit), pytest.raises(InputError, match="experts work on slots"):
        layer(X[None])


def test_nothing_but_finite_numbers_when_every_expert_is_forbidden() -> None:
    for selection in (JointWithShared(1, 1), TopK(2), ExpertChoice(normalize="units")):
        layer = MoELayer(router(selection), MLPExperts(4, 8, 16))
        with edit_routing(layer, Forbid([0, 1, 2, 3])):
            assert torch.equal(layer(X), torch.zeros(6, 8))
            assert layer.route(X).counts.sum() == 0


def test_even_load_by_decree_leaves_forbidden_experts_out() -> None:
    one = router(ForceBalanced(2))
    with edit_routing(one, Forbid([0, 1])):
        routing = one(X)
    assert routing.counts.tolist() == [0, 0, 3, 3]
    torch.testing.assert_close(routing.dense_weight.sum(-1), torch.tensor([0.0, 1, 0, 1, 0, 1]))


def test_the_quantile_is_one_of_the_allowed_experts() -> None:
    one = router(Percentile(0.5), experts=8).train()
    with edit_routing(one, Forbid([0, 1, 2, 3, 4])):
        for _ in range(3):
            routing = one(X)
    scores = routing.scores[:, 5:]
    torch.testing.assert_close(one.selection.quantile, scores.flatten().kthvalue(10).values)


def test_an_offset_that_is_undone_leaves_nothing_behind() -> None:
    one = router(TopK(2, renormalize="softmax"))
    before = one(X)
    with edit_routing(one, OffsetLogits(SCORES), OverrideScores(SCORES), ChooseK(3)):
        assert not torch.equal(one(X).dense_weight, before.dense_weight)
    assert torch.equal(one(X).dense_weight, before.dense_weight)
