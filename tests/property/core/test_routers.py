"""Properties of every registered router over random sizes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mixtura.core import (
    Capacity,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    Routing,
    TopK,
    load_balance,
    router_z,
)
from mixtura.core.testing import ROUTERS, RouterCase


@pytest.mark.parametrize("case", list(ROUTERS), ids=lambda case: case.name)
@settings(max_examples=12)
@given(data=st.data())
def test_nothing_but_finite_numbers_comes_out(case: RouterCase, data: st.DataObject) -> None:
    experts = data.draw(st.integers(1, 6), label="experts")
    k = data.draw(st.integers(1, experts), label="k")
    units = data.draw(st.integers(0, 9), label="units")
    scale = data.draw(st.sampled_from([0.0, 1.0, 1e3, 1e30]), label="scale")
    router = case.seeded(experts, k).train(data.draw(st.booleans(), label="training"))
    masked = data.draw(st.booleans(), label="masked")
    mask = torch.rand(units) < 0.5 if masked else None
    x = (case.inputs(units) * scale).requires_grad_()
    layer = MoELayer(router, MLPExperts(router.num_experts, 8, 4))
    context = case.context(units, router.num_experts)
    routing = router(x, mask=mask, **context)
    assert torch.isfinite(routing.dense_weight).all()
    if scale < 1e30:
        y = layer.compute(x, routing)
        assert torch.isfinite(y).all()
        if mask is not None:
            assert (y[~mask] == 0).all()
        if routing.scores is not None and routing.plain:
            for loss in (load_balance([routing]), router_z([routing])):
                assert torch.isfinite(loss)


@given(
    units=st.integers(1, 12),
    experts=st.integers(1, 6),
    data=st.data(),
    factor=st.floats(0.1, 3.0),
    policy=st.sampled_from(["choice", "unit", "weight", "priority", "tied"]),
)
def test_capacity_is_never_exceeded(
    units: int, experts: int, data: st.DataObject, factor: float, policy: str
) -> None:
    k = data.draw(st.integers(1, experts))
    selection = Capacity(TopK(k), factor, rule="choices", policy=policy)
    routing = Router(LinearScore(3, experts), selection)(torch.randn(units, 3))
    assert int(routing.counts.max()) <= routing.aux["capacity"]
    slot = routing.aux["slot"]
    assert torch.equal(slot >= 0, routing.valid)
    for expert in range(experts):
        places = slot[(routing.index == expert) & routing.valid]
        assert sorted(places.tolist()) == list(range(len(places)))


@given(units=st.integers(1, 8), experts=st.integers(1, 5))
def test_all_experts_is_the_dense_mixture(units: int, experts: int) -> None:
    layer = MoELayer(Router(LinearScore(4, experts), TopK(experts)), MLPExperts(experts, 4, 6))
    x = torch.randn(units, 4)
    softmax = layer.router.score_function(x)[0].softmax(-1)
    expected = torch.einsum("ue,ued->ud", softmax, layer.experts.all(x))
    torch.testing.assert_close(layer(x), expected, atol=1e-5, rtol=1e-4)


@given(units=st.integers(1, 30), experts=st.integers(2, 6), data=st.data())
def test_even_scores_give_one_whatever_is_chosen(
    units: int, experts: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, experts))
    scores = torch.rand(units, experts).softmax(-1)
    weight, index = scores.topk(k, -1)
    even = torch.full_like(scores, 1 / experts)
    flat = Routing.from_choices(index, weight, num_experts=experts, scores=even)
    assert load_balance([flat]).item() == pytest.approx(1.0, abs=1e-5)
