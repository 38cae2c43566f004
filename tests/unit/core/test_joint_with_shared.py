"""Routed and shared experts under one softmax, with low-rank experts."""

import pytest
import torch

from mixtura.core import (
    InputError,
    JointWithShared,
    LinearScore,
    LoRAExperts,
    MoELayer,
    MutualInformation,
    PerTaskScore,
    Router,
    TopK,
    mutual_information,
    record_routing,
)


def adaptive(tasks: int = 2, **kwargs) -> MoELayer:
    torch.manual_seed(0)
    scores = [LinearScore(6, 5, std=1.0) for _ in range(tasks)]
    experts = LoRAExperts(5, 6, 2)
    torch.nn.init.normal_(experts.B)
    return MoELayer(Router(PerTaskScore(scores), JointWithShared(2, 1)), experts, **kwargs)


def test_the_weights_are_one_softmax():
    moe, x = adaptive(), torch.randn(7, 6)
    routing = moe.route(x, task=1)
    logits = x @ moe.router.score_function.scores[1].weight.T
    best = logits[:, :4].topk(2).indices
    kept = torch.cat([logits.gather(1, best), logits[:, 4:]], 1)
    assert torch.equal(routing.index, torch.cat([best, torch.full((7, 1), 4)], 1))
    torch.testing.assert_close(routing.weight.view(7, 3), kept.softmax(-1))


def test_a_task_per_unit_is_the_tasks_one_by_one():
    moe, x = adaptive(), torch.randn(2, 5, 6)
    both = moe(x, task=torch.tensor([0, 1]).repeat_interleave(5))
    torch.testing.assert_close(both, torch.stack([moe(x[t], task=t) for t in range(2)]))


@pytest.mark.parametrize("dispatch", ["naive", "sorted_loop"])
def test_the_bottleneck_is_exact(dispatch):
    moe, x = adaptive(), torch.randn(2, 5, 6, requires_grad=True)
    other = MoELayer(moe.router, moe.experts, dispatch=dispatch)
    mixed, moved = moe(x, task=0), other(x, task=0)
    torch.testing.assert_close(mixed, moved)
    parameters = [x, *moe.experts.parameters(), moe.router.score_function.scores[0].weight]
    for a, b in zip(
        torch.autograd.grad(mixed.pow(2).sum(), parameters),
        torch.autograd.grad(moved.pow(2).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_scale_and_rows_of_a_unit():
    torch.manual_seed(0)
    experts = LoRAExperts(4, 6, 2, out_dim=3, scale=0.5)
    torch.nn.init.normal_(experts.B)
    router, x = Router(LinearScore(6, 4), TopK(2)), torch.randn(5, 3, 6)
    routing = router(x.mean(1))
    expected = routing.combine(experts(routing.gather(x), routing))
    torch.testing.assert_close(experts.mix(x, routing), expected)
    torch.testing.assert_close(experts.one(1, x), 0.5 * x @ experts.A[1].T @ experts.B[1].T)


def test_low_rank_experts_start_by_changing_nothing():
    experts = LoRAExperts(4, 6, 2)
    assert not experts.all(torch.randn(3, 6)).any()
    assert experts.prefers_mix
    assert not LoRAExperts(400, 6, 2).prefers_mix


def test_mutual_information_by_hand():
    moe, x = adaptive(losses=[MutualInformation(2.0, num_tasks=2)]), torch.randn(2, 5, 6)
    with record_routing(moe) as record:
        for task in range(2):
            moe(x[task], task=task)
    calls = record.calls[""]
    joint = torch.stack([(c.logits[:, :4].softmax(-1) + 1e-4).sum(0) for c in calls])
    joint = joint / (10 + 1e-4)
    of_task, of_expert = joint.sum(1, keepdim=True) + 1e-4, joint.sum(0, keepdim=True) + 1e-4
    expected = (joint * (joint / (of_task * of_expert) + 1e-4).log()).sum()
    torch.testing.assert_close(mutual_information(calls, 2), expected)
    (term,) = record.losses().values()
    torch.testing.assert_close(term, -2.0 * expected)


def test_mutual_information_grows_when_tasks_part():
    def information(sharpness: float) -> float:
        same = Router(PerTaskScore([LinearScore(2, 2), LinearScore(2, 2)]), TopK(1))
        for task, score in enumerate(same.score_function.scores):
            score.weight.data = sharpness * torch.tensor([[1.0, 0.0], [-1.0, 0.0]]) * (-1) ** task
        x = torch.ones(4, 2)
        return mutual_information([same(x, task=0), same(x, task=1)], 2).item()

    assert information(0.0) == pytest.approx(0.0, abs=1e-3)
    assert information(9.0) == pytest.approx(torch.tensor(2.0).log().item(), abs=1e-2)


def test_refusals():
    with pytest.raises(InputError, match="num_shared"):
        JointWithShared(2, 0)
    with pytest.raises(InputError, match="lower k"):
        Router(LinearScore(6, 3), JointWithShared(3, 1))(torch.randn(2, 6))
    with pytest.raises(InputError, match="know their task"):
        mutual_information([Router(LinearScore(6, 3), TopK(1))(torch.randn(2, 6))], 2)
    with pytest.raises(InputError, match="tasks are 0 to 1"):
        adaptive().route(torch.randn(2, 6), task=2)
