"""The contrastive loss of prototypes."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mixtura.core import (
    CosineScore,
    ExpertChoice,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    RoutingContrastive,
    TopK,
    record_routing,
    routing_contrastive,
)


def layer(selection, experts: int = 4, **kwargs) -> MoELayer:
    torch.manual_seed(0)
    router = Router(CosineScore(6, experts), selection, activation="identity", reserved=1)
    return MoELayer(router, MLPExperts(experts + 1, 6, 8), losses=[RoutingContrastive(**kwargs)])


def by_hand(prototypes, groups, temperature):
    losses = []
    for means in groups:
        kept = [i for i, mean in enumerate(means) if mean is not None]
        for position, i in enumerate(kept):
            similarity = torch.stack(
                [F.cosine_similarity(prototypes[i], means[j], dim=0) for j in kept]
            )
            losses.append(-(similarity / temperature).log_softmax(0)[position])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("choices", [None, 1])
def test_token_choice_by_hand(choices):
    moe = layer(TopK(2, renormalize="never"), temperature=0.2, choices=choices)
    x = torch.randn(3, 5, 6, requires_grad=True)
    forced = torch.tensor([-1, 4, -1]).repeat_interleave(5)
    with record_routing(moe) as record:
        moe(x, forced=forced)
    (routing,) = record.calls[""]
    (term,) = record.losses().values()
    free = (forced < 0).nonzero()[:, 0]
    rows = x.reshape(15, 6)
    means = []
    for expert in range(4):
        own = [u for u in free if expert in routing.index[u, : choices or 2]]
        means.append(rows[torch.stack(own)].mean(0) if own else None)
    prototypes = moe.router.score_function.prototypes
    expected = by_hand(prototypes, [means], 0.2)
    torch.testing.assert_close(term, expected)
    for a, b in zip(
        torch.autograd.grad(term, [x, prototypes]),
        torch.autograd.grad(expected, [x, prototypes]),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_expert_choice_has_a_mean_in_each_sample():
    moe, x = layer(ExpertChoice(1.0), temperature=0.2, per_sample=True), torch.randn(3, 8, 6)
    forced = torch.tensor([-1, 4, -1]).repeat_interleave(8)
    with record_routing(moe) as record:
        moe(x, forced=forced)
    (routing,) = record.calls[""]
    chosen = routing.chosen.view(3, 8, 5)
    groups = [[x[s][chosen[s, :, e]].mean(0) for e in range(4)] for s in (0, 2)]
    expected = by_hand(moe.router.score_function.prototypes, groups, 0.2)
    torch.testing.assert_close(*record.losses().values(), expected)


def test_fewer_than_two_experts_with_units_give_zero():
    moe, x = layer(TopK(1, renormalize="never")), torch.randn(2, 5, 6, requires_grad=True)
    for told in (torch.full((10,), 4), torch.tensor([-1] + [4] * 9)):
        with record_routing(moe) as record:
            y = moe(x, forced=told)
        (term,) = record.losses().values()
        assert term.item() == pytest.approx(0.0, abs=1e-6)
        moe.zero_grad()
        (y.sum() + term).backward()
        assert torch.isfinite(moe.router.score_function.prototypes.grad).all()
        assert moe.router.score_function.prototypes.grad is not None


def test_the_calls_of_a_step_are_one_batch():
    moe, x = layer(TopK(2, renormalize="never")), torch.randn(4, 5, 6)
    with record_routing(moe) as record:
        moe(x)
    whole = record.losses()
    with record_routing(moe) as record:
        moe(x[:2]), moe(x[2:])
    torch.testing.assert_close(record.losses(), whole)


def test_recomputed_activations_give_the_same_gradients():
    moe = layer(TopK(2, renormalize="never"), temperature=0.2)
    x = torch.randn(3, 5, 6)

    def gradients(forward):
        moe.zero_grad()
        inputs = x.clone().requires_grad_()
        with record_routing(moe) as record:
            y = forward(inputs * 2)
            (y.square().sum() + sum(record.losses().values())).backward()
        return [inputs.grad, *(p.grad.clone() for p in moe.parameters())]

    plain = gradients(moe)
    again = gradients(lambda inputs: checkpoint(moe, inputs, use_reentrant=False))
    torch.testing.assert_close(again, plain)


def test_rows_are_kept_only_where_a_loss_needs_them():
    moe, x = layer(TopK(1, renormalize="never")), torch.randn(5, 6)
    assert torch.equal(moe.eval().route(x).rows, x)
    assert MoELayer(moe.router, moe.experts).route(x).rows is None


def test_refusals():
    x = torch.randn(5, 6)
    with pytest.raises(InputError, match="needs prototypes and rows"):
        routing_contrastive([Router(LinearScore(6, 3), TopK(1))(x)])
    router = Router(
        CosineScore(6, 3, projection=2), TopK(1, renormalize="never"), activation="identity"
    )
    projected = MoELayer(router, MLPExperts(3, 6, 8), losses=[RoutingContrastive()]).eval()
    with pytest.raises(InputError, match="without a projection"):
        routing_contrastive([projected.route(x)])
    taken = layer(ExpertChoice(1.0)).eval().route(x[None])
    with pytest.raises(InputError, match="best choices"):
        routing_contrastive([taken], choices=1)
