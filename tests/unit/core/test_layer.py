"""The layer: routing and computing apart and together."""

import pytest
import torch
from torch import nn

from mixtura.core import (
    ExpertChoice,
    InputError,
    LinearScore,
    MLPExperts,
    MoELayer,
    Router,
    SegmentUnits,
    SharedExpert,
    StraightThrough,
    TopK,
    WeightInputs,
)


def layer(dispatch: str = "auto", **kwargs) -> MoELayer:
    torch.manual_seed(0)
    router = Router(LinearScore(6, 3), TopK(2))
    return MoELayer(router, MLPExperts(3, 6, 8), dispatch=dispatch, **kwargs)


def test_forward_is_compute_of_route():
    moe, x = layer(), torch.randn(2, 5, 6)
    torch.testing.assert_close(moe(x), moe.compute(x, moe.route(x)))


def test_one_routing_serves_many_inputs():
    moe, x, other = layer(), torch.randn(4, 6), torch.randn(4, 6)
    routing = moe.route(x)
    expected = sum(routing.dense_weight[:, e, None] * moe.experts.one(e, other) for e in range(3))
    torch.testing.assert_close(moe.compute(other, routing), expected)
    torch.testing.assert_close(moe.experts.bind(routing)(other), expected)


def test_the_router_may_look_at_something_else():
    moe, x, seen = layer(), torch.randn(4, 6), torch.randn(4, 6)
    assert torch.equal(moe.route(x, route_on=seen).index, moe.route(seen).index)


def test_forced_units_go_where_they_are_told():
    router = Router(LinearScore(6, 3), TopK(2), reserved=1)
    moe = MoELayer(router, MLPExperts(4, 6, 8))
    x = torch.randn(3, 6)
    routing = moe.route(x, forced=torch.tensor([-1, 3, -1]))
    assert routing.logits.shape == (3, 3)
    assert routing.dense_weight[1].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert torch.equal(routing.dense_weight[0], moe.route(x).dense_weight[0])
    torch.testing.assert_close(moe.compute(x, routing)[1], moe.experts.one(3, x)[1])


@pytest.mark.parametrize("wrapper", [WeightInputs, StraightThrough])
@pytest.mark.parametrize("inner", [TopK(2), ExpertChoice(2.0)])
def test_units_that_nobody_forces_keep_the_weights_on_their_inputs(wrapper, inner):
    router = Router(LinearScore(6, 3, std=1.0), wrapper(inner))
    moe, x = MoELayer(router, MLPExperts(3, 6, 8)), torch.randn(5, 6)
    free = torch.full((5,), -1)
    torch.testing.assert_close(moe(x, forced=free), moe(x))
    one = free.clone()
    one[2] = 1
    torch.testing.assert_close(moe(x, forced=one)[2], moe.experts.one(1, x)[2])


def test_rows_follow_the_weights_on_their_units_inputs():
    moe = MoELayer(Router(LinearScore(6, 3, std=1.0), WeightInputs(TopK(2))), MLPExperts(3, 6, 8))
    x = torch.randn(3, 6)
    rows = torch.tensor([2, 0, 0, 1])
    torch.testing.assert_close(moe.compute(x[rows], moe.route(x).for_rows(rows)), moe(x)[rows])


def test_masked_rows_are_zero_and_change_nothing_else():
    moe, x = layer(), torch.randn(2, 5, 6)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[1, 3:] = False
    y = moe(x, mask=mask)
    assert not y[1, 3:].any()
    torch.testing.assert_close(y[mask], moe(x)[mask])


@pytest.mark.parametrize("view", ["row", "unit", "input"])
def test_a_shared_expert_works_on_its_view(view):
    width = 12 if view == "unit" else 6
    shared = SharedExpert(nn.Linear(width, width), gate_dim=width, view=view)
    moe = MoELayer(
        Router(LinearScore(12, 3), TopK(1)), MLPExperts(3, 6, 8),
        shared=shared, units=SegmentUnits(2),
    )  # fmt: skip
    x = torch.randn(3, 4, 6)
    seen = x.view(3, 2, 12) if view == "unit" else x
    added = torch.sigmoid(shared.gate(seen)) * shared.module(seen)
    moe.shared = None
    routed = moe(x)
    moe.shared = shared
    torch.testing.assert_close(moe(x), routed + added.view_as(x))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="the router reaches 3 experts, but there are 4"):
        MoELayer(Router(LinearScore(6, 3), TopK(2)), MLPExperts(4, 6, 8))
    with pytest.raises(InputError, match=r"k must be between 1 and .* \(3\), got 5"):
        MoELayer(Router(LinearScore(6, 3), TopK(5)), MLPExperts(3, 6, 8))(torch.randn(2, 6))
    with pytest.raises(InputError, match="unknown dispatch 'sorted'; did you mean sorted_loop"):
        layer("sorted")
    moe = layer()
    with pytest.raises(InputError, match="routing is for 4 units, but the input has 5"):
        moe.compute(torch.randn(5, 6), moe.route(torch.randn(4, 6)))
    with pytest.raises(InputError, match="does not look at task"):
        moe(torch.randn(4, 6), task=1)


def test_gradients_in_double_precision():
    moe = layer("sorted_loop").double()
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(moe, (x,))
