"""Structural edits: other numbers of experts, saved and built like any layer."""

import pytest
import torch
from torch import nn

from mixtura.core import (
    All,
    BalanceBias,
    CosineScore,
    DSelectScore,
    GLUExperts,
    GroupedScore,
    GroupLimit,
    InputError,
    JointWithShared,
    KMeansScore,
    LinearScore,
    MLPExperts,
    ModuleExperts,
    MoELayer,
    PerTaskScore,
    Positive,
    Router,
    TopK,
    append_experts,
    from_config,
    replace_expert,
    select_experts,
    to_config,
)


def layer(score=LinearScore, reserved: int = 0, adjustments=None) -> MoELayer:
    torch.manual_seed(0)
    router = Router(
        score(6, 5),
        TopK(2),
        adjustments=[BalanceBias(5)] if adjustments is None else adjustments,
        reserved=reserved,
    )
    return MoELayer(router, MLPExperts(5 + reserved, 6, 8, bias=True))


X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("score", [LinearScore, CosineScore])
def test_selected_experts_work_as_before(score) -> None:
    model = layer(score)
    model.router.adjustments[0].bias.copy_(torch.arange(5.0) / 100)
    before = model.route(X)
    keep = [4, 1, 2]
    logits = before.logits[:, keep]
    outputs = model.experts.all(X)[:, keep]
    select_experts(model, keep)
    after = model.route(X)
    assert model.num_experts == after.num_experts == 3
    torch.testing.assert_close(after.logits, logits)
    torch.testing.assert_close(model.experts.all(X), outputs)
    torch.testing.assert_close(model.router.adjustments[0].bias, torch.tensor([0.04, 0.01, 0.02]))


def test_the_configuration_follows() -> None:
    model = select_experts(layer(), [0, 3])
    built = from_config(to_config(model))
    built.load_state_dict(model.state_dict())
    assert built.num_experts == 2
    assert torch.equal(built(X), model(X))


def test_top_k_shrinks_to_what_is_left() -> None:
    model = select_experts(layer(), [3])
    assert model.router.selection.k == 1
    assert model.route(X).index.unique().tolist() == [0]


def test_reserved_experts_stay() -> None:
    model = layer(reserved=1)
    reserved = model.experts.up[5].clone()
    select_experts(model, [1, 2])
    assert model.num_experts == 3
    assert torch.equal(model.experts.up[2], reserved)
    append_experts(model, 1)
    assert model.num_experts == 4
    assert torch.equal(model.experts.up[3], reserved)


def test_appended_experts_copy_their_sources() -> None:
    model = layer()
    append_experts(model, 2, sources=[4, 0], noise=0.01)
    assert model.num_experts == 7
    assert torch.equal(model.experts.up[5], model.experts.up[4])
    rows = model.router.score_function.weight
    assert not torch.equal(rows[5], rows[4])
    torch.testing.assert_close(rows[5], rows[4], atol=0.1, rtol=0)
    assert torch.equal(rows[:5], layer().router.score_function.weight)
    bank = MLPExperts(1, 6, 8, bias=True)
    append_experts(model, 1, bank=bank)
    assert torch.equal(model.experts.down[7], bank.down[0])
    assert model(X).shape == X.shape


def test_a_replaced_expert() -> None:
    model = layer()
    bank = MLPExperts(1, 6, 8, bias=True)
    replace_expert(model, 2, bank)
    torch.testing.assert_close(model.experts.one(2, X), bank.one(0, X))
    others = model.experts.one(1, X)
    replace_expert(model, 2, nn.Linear(6, 6))
    assert isinstance(model.experts, ModuleExperts)
    torch.testing.assert_close(model.experts.one(1, X), others)
    assert model(X).shape == X.shape
    select_experts(model, [2, 0])
    assert isinstance(model.experts.members[0], nn.Linear)
    with pytest.raises(InputError, match="between 0 and 1"):
        replace_expert(model, 2, bank)


def test_what_cannot_be_taken_apart_is_refused() -> None:
    smooth = Router(DSelectScore(4, 1), Positive(), activation="identity")
    with pytest.raises(InputError, match="no part for each expert"):
        select_experts(MoELayer(smooth, GLUExperts(4, 6, 4)), [0, 1])
    with pytest.raises(InputError, match="between 0 and 4"):
        select_experts(layer(), [5])
    grouped = Router(LinearScore(6, 4), TopK(1), adjustments=[GroupLimit(2, 1)])
    with pytest.raises(InputError, match="groups of equal size"):
        select_experts(MoELayer(grouped, GLUExperts(4, 6, 4)), [0, 1, 2])
    assert grouped.num_experts == 4  # a refused selection has changed nothing


def small(score, selection, **kwargs) -> MoELayer:
    return MoELayer(Router(score, selection, **kwargs), MLPExperts(8, 6, 4))


def test_a_selection_that_would_mix_up_groups_is_refused() -> None:
    clustered = small(GroupedScore(LinearScore(6, 8), KMeansScore(6, 4)), TopK(1))
    limited = small(LinearScore(6, 8), TopK(2), adjustments=[GroupLimit(4, 2)])
    for model in (clustered, limited):
        for index in ([0, 1, 2, 3, 4, 5], [0, 1, 2, 4], [2, 0, 4, 6]):
            with pytest.raises(InputError, match="as many experts of each group"):
                select_experts(model, index)
        with pytest.raises(InputError, match="as many experts of each group"):
            append_experts(model, 1)
        assert model(X).shape == X.shape
        before = model.route(X).logits[:, [1, 3, 4, 7]].clone()
        after = select_experts(model, [1, 3, 4, 7]).route(X).logits
        seen = after.isfinite() & before.isfinite()
        torch.testing.assert_close(after[seen], before[seen])


def test_shared_experts_keep_their_place() -> None:
    model = small(LinearScore(6, 8), JointWithShared(2, 1))
    for index in ([0, 1, 2], [7, 0, 1], [0, 7, 7]):
        with pytest.raises(InputError, match="shared by all units"):
            select_experts(model, index)
    assert select_experts(model, [5, 0, 7]).route(X).index[:, 2].tolist() == [2] * 40


def test_what_a_task_sees_cannot_be_selected() -> None:
    seen = PerTaskScore([LinearScore(6, 2), LinearScore(6, 7)], visible=[[0, 1], range(1, 8)])
    model = small(seen, All())
    with pytest.raises(InputError, match="see some of the experts only"):
        select_experts(model, [0, 1, 2])
    assert model(X, task=1).shape == X.shape
