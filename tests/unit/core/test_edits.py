"""The edit stack: what each edit does, the fixed order, and that it costs nothing when empty."""

import pytest
import torch
from torch import nn

from mixtura.core import (
    ChooseK,
    ChooseRanks,
    Forbid,
    ForceMembers,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    MultiplyWeights,
    OffsetLogits,
    OverrideScores,
    Replay,
    Router,
    TopK,
    TopP,
    edit_routing,
    routers,
)

X = torch.tensor([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])


@pytest.fixture
def router() -> Router:
    score = LinearScore(4, 4)
    score.weight.data.copy_(torch.eye(4))
    return Router(score, TopK(2))


def chosen(router: Router, *edits) -> list[list[int]]:
    with edit_routing(router, *edits):
        routing = router(X)
    return [row.nonzero().flatten().tolist() for row in routing.chosen]


def test_offset(router: Router) -> None:
    assert chosen(router, OffsetLogits(torch.tensor([0.0, 0.0, 0.0, 9.0]))) == [[0, 3], [2, 3]]
    offset = torch.zeros(2, 4, requires_grad=True)
    with edit_routing(router, OffsetLogits(offset)):
        router(X).weight.square().sum().backward()
    assert offset.grad.abs().sum() > 0
    with pytest.raises(InputError, match="one per unit and expert"):
        chosen(router, OffsetLogits(torch.zeros(3)))


def test_forbid(router: Router) -> None:
    assert chosen(router, Forbid([0])) == [[1, 2], [2, 3]]
    per_unit = torch.zeros(2, 4, dtype=torch.bool)
    per_unit[1, 3] = True
    assert chosen(router, Forbid(per_unit)) == [[0, 1], [1, 2]]
    core = Forbid(lambda scored: scored.scores.sum(0) < scored.scores.sum(0).median())
    assert all(len(row) == 2 for row in chosen(router, core))
    with edit_routing(router, Forbid([0, 1, 2])):
        routing = router(X)
    assert routing.counts.tolist() == [0, 0, 0, 2]
    torch.testing.assert_close(routing.dense_weight.sum(-1), torch.ones(2))
    with edit_routing(router, Forbid([0, 1, 2, 3])):
        routing = router(X)
    assert routing.counts.sum() == 0
    assert torch.isfinite(routing.weight).all()
    with pytest.raises(InputError, match="between 0 and 3"):
        chosen(router, Forbid([4]))


def test_a_balance_bias_cannot_bring_a_forbidden_expert_back(router: Router) -> None:
    from mixtura.core import BalanceBias

    bias = BalanceBias(4)
    bias.bias.fill_(5.0)
    biased = Router(router.score_function, TopK(2), activation="sigmoid", adjustments=[bias])
    assert chosen(biased, Forbid([0])) == [[1, 2], [2, 3]]


def test_override(router: Router) -> None:
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4])
    where = torch.tensor([True, False])
    with edit_routing(router, OverrideScores(scores, where=where)):
        routing = router(X)
    assert sorted(routing.index[0].tolist()) == [2, 3]
    torch.testing.assert_close(routing.dense_weight[0], torch.tensor([0.0, 0.0, 3 / 7, 4 / 7]))


def test_choices(router: Router) -> None:
    assert chosen(router, ChooseK(1)) == [[0], [3]]
    assert chosen(router, ChooseK(torch.tensor([1, 3]))) == [[0], [1, 2, 3]]
    assert chosen(router, ChooseRanks([2])) == [[2], [1]]
    assert chosen(router, ForceMembers([3])) == [[0, 3], [2, 3]]
    assert chosen(router, ForceMembers([1, 2]), ChooseK(3)) == [[0, 1, 2], [1, 2, 3]]
    with edit_routing(router, ChooseRanks([2])):
        torch.testing.assert_close(router(X).weight, torch.ones(2))
    with pytest.raises(InputError, match="distinct positions"):
        ChooseRanks([1, 1])
    with pytest.raises(InputError, match="k must be between 1"):
        chosen(router, ChooseK(5))


def test_replay_takes_the_old_choice_and_new_weights(router: Router) -> None:
    recorded = router(X.flip(0))
    with edit_routing(router, Replay(recorded)):
        routing = router(X)
    assert torch.equal(routing.chosen, recorded.chosen)
    softmax = X.softmax(-1) * recorded.chosen
    torch.testing.assert_close(routing.dense_weight, softmax / softmax.sum(-1, keepdim=True))
    with pytest.raises(InputError, match="recorded decision"):
        chosen(router, Replay(router(X[:1])))


def test_multiply_comes_last_and_rescales_nothing(router: Router) -> None:
    plain = router(X).dense_weight
    with edit_routing(router, MultiplyWeights({0: 4.0})):
        routing = router(X)
    torch.testing.assert_close(routing.dense_weight, plain * torch.tensor([4.0, 1, 1, 1]))
    with edit_routing(router, MultiplyWeights(lambda r: torch.full((2, 4), 0.5))):
        torch.testing.assert_close(router(X).dense_weight, plain * 0.5)


def test_the_order_is_fixed_however_edits_were_put_on(router: Router) -> None:
    edits = [
        MultiplyWeights({1: 2.0}),
        ChooseK(1),
        OverrideScores(torch.tensor([0.1, 0.9, 0.5, 0.2])),
        Forbid([1]),
        OffsetLogits(torch.tensor([9.0, 0.0, 0.0, 0.0])),
    ]
    with edit_routing(router, *edits):
        forward = router(X)
    with edit_routing(router, *reversed(edits)):
        backward = router(X)
    assert torch.equal(forward.dense_weight, backward.dense_weight)
    assert forward.chosen.tolist() == [[False, False, True, False]] * 2


def test_edits_come_off_even_after_an_error(router: Router) -> None:
    same = Forbid([0])
    with pytest.raises(InputError), edit_routing(router, same, same, ChooseK(9)):
        router(X)
    assert router.edits == []


def test_an_empty_stack_makes_no_difference(router: Router) -> None:
    before = router(X)
    with edit_routing(router):
        after = router(X)
    assert torch.equal(before.dense_weight, after.dense_weight)


def test_layers_are_chosen_by_name() -> None:
    def layer() -> MoELayer:
        return MoELayer(Router(LinearScore(4, 4), TopK(2)), MLPExperts(4, 4, 4))

    model = nn.ModuleDict({"a": layer(), "b": layer()})
    assert list(routers(model)) == ["a", "b"]
    with edit_routing(model, Forbid([0]), layers=["b"]):
        assert [len(r.edits) for r in routers(model).values()] == [0, 1]
    with pytest.raises(InputError, match="did you mean a"), edit_routing(model, layers=["aa"]):
        pass
    with pytest.raises(InputError, match="no router"), edit_routing(nn.Linear(2, 2)):
        pass


def test_a_selection_without_ranks_refuses_them(router: Router) -> None:
    top_p = Router(router.score_function, TopP(0.5))
    with pytest.raises(InputError, match="has no such choice"):
        chosen(top_p, ChooseRanks([1]))
    assert chosen(top_p, ForceMembers([3])) == [[0, 3], [3]]
