"""What every router has to do."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from mixtura.core.configuration import from_config, to_config
from mixtura.core.edits import Forbid, edit_routing
from mixtura.core.router import Router
from mixtura.core.routing import Routing
from mixtura.core.testing.cases import RouterCase

__all__ = ["router_checks"]

UNITS = 12


def route(
    case: RouterCase,
    router: Router,
    x: Tensor,
    mask: Tensor | None = None,
    context: dict | None = None,
) -> Routing:
    """One decision, with the context that the case asks for."""
    if context is None:
        context = case.context(len(x), router.num_experts)
    return router(x, mask=mask, **context)


def matrix(routing: Routing) -> Tensor:
    """Everything that counts of a decision, in one order."""
    return routing.dense_weight.detach()


def check_shapes(case: RouterCase) -> None:
    """Experts in range, one weight each, all float32, no expert twice for a unit."""
    for training in (True, False):
        router = case.seeded().train(training)
        routing = route(case, router, case.inputs(UNITS))
        assert routing.num_experts == router.num_experts
        assert routing.expert.shape == routing.weight.shape
        assert routing.weight.dtype == torch.float32
        assert 0 <= int(routing.expert.min()) <= int(routing.expert.max()) <= routing.num_experts
        assert int(routing.counts.sum()) == int((routing.expert < routing.num_experts).sum())
        assert routing.logits is None or routing.logits.dtype == torch.float32
        if routing.index is not None:
            live = routing.expert < routing.num_experts
            key = (routing.unit * (routing.num_experts + 1) + routing.expert)[live]
            assert len(key.unique()) == len(key)


def check_weights(case: RouterCase) -> None:
    """Weights are finite and not negative, and sum to 1 where that is promised."""
    router = case.seeded().eval()
    weights = matrix(route(case, router, case.inputs(UNITS)))
    assert torch.isfinite(weights).all()
    assert (weights >= 0).all()
    if case.normalized:
        torch.testing.assert_close(weights.sum(-1), torch.ones(UNITS))


def check_extreme_sizes(case: RouterCase) -> None:
    """K = 1, k = E, one expert, one unit, no unit."""
    for experts, k, units in ((4, 1, 5), (4, 4, 5), (1, 1, 5), (2, 1, 4), (4, 2, 1), (4, 2, 0)):
        for training in (True, False):
            router = case.seeded(experts, k).train(training)
            routing = route(case, router, case.inputs(units))
            assert routing.num_units == units
            assert torch.isfinite(matrix(routing)).all()


def check_extreme_values(case: RouterCase) -> None:
    """Equal and very large inputs give no NaN, forward or backward."""
    for scale in (0.0, 1e4, -1e4):
        for training in (True, False):
            router = case.seeded().train(training)
            x = (case.inputs(UNITS) * scale).requires_grad_()
            routing = route(case, router, x)
            assert torch.isfinite(matrix(routing)).all()
            total = routing.weight.square().sum()
            if total.requires_grad:
                total.backward()
                for tensor in (x, *router.parameters()):
                    assert tensor.grad is None or torch.isfinite(tensor.grad).all()


def check_precision(case: RouterCase) -> None:
    """A router in half precision still computes in float32; float64 inputs keep their precision."""
    x = case.inputs(UNITS)
    for dtype in (torch.bfloat16, torch.float16):
        narrow = case.seeded().to(dtype).eval()
        low = route(case, narrow, x.to(dtype))
        assert low.weight.dtype == torch.float32
        same = case.seeded().eval()
        same.load_state_dict(narrow.state_dict())
        expected = route(case, same, x.to(dtype).float())
        if low.logits is not None:
            torch.testing.assert_close(low.logits, expected.logits)
    high = route(case, case.seeded().double().eval(), x.double())
    assert torch.isfinite(high.weight).all()


def check_autocast(case: RouterCase) -> None:
    """Logits under bfloat16 autocast are those of float32, bit by bit."""
    router = case.seeded().eval()
    x = case.inputs(UNITS)
    expected = route(case, router, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = route(case, router, x)
    if expected.logits is not None:
        assert found.logits is not None
        assert torch.equal(expected.logits, found.logits)


def check_determinism(case: RouterCase) -> None:
    """Outside training the same input gives the same decision; in training under the same seed."""
    x = case.inputs(UNITS)
    router = case.seeded().eval()
    assert torch.equal(matrix(route(case, router, x)), matrix(route(case, router, x)))
    both = []
    for _ in range(2):
        router = case.seeded().train()
        torch.manual_seed(3)
        both.append(matrix(route(case, router, x)))
    assert torch.equal(*both)


def check_permutation(case: RouterCase) -> None:
    """Outside training, units in another order get the same experts."""
    router = case.seeded().eval()
    x = case.inputs(UNITS)
    order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(5))
    context = case.context(UNITS, router.num_experts)
    moved = {
        name: value[order] if isinstance(value, Tensor) and len(value) == UNITS else value
        for name, value in context.items()
    }
    expected = matrix(route(case, router, x, context=context))[order]
    torch.testing.assert_close(matrix(route(case, router, x[order], context=moved)), expected)


def check_causality(case: RouterCase) -> None:
    """Outside training, later units do not change the decision about earlier ones."""
    router = case.seeded().eval()
    x = case.inputs(UNITS)
    context = case.context(UNITS, router.num_experts)
    cut = {
        name: value[:5] if isinstance(value, Tensor) and len(value) == UNITS else value
        for name, value in context.items()
    }
    whole = matrix(route(case, router, x, context=context))[:5]
    torch.testing.assert_close(matrix(route(case, router, x[:5], context=cut)), whole)


def check_mask(case: RouterCase) -> None:
    """Units that do not exist get no expert, and those that do are as well off without them."""
    for training in (True, False):
        router = case.seeded().train(training)
        x = case.inputs(UNITS)
        mask = torch.arange(UNITS) % 3 > 0
        routing = route(case, router, x, mask)
        assert not routing.chosen[~mask].any()
        assert (matrix(routing)[~mask] == 0).all()
        assert torch.isfinite(matrix(routing)).all()
    garbage = torch.where(mask[:, None], x, 1e3)
    router.eval()
    torch.testing.assert_close(
        matrix(route(case, router, garbage, mask)), matrix(route(case, router, x, mask))
    )
    nobody = route(case, router, x, torch.zeros(UNITS, dtype=torch.bool))
    assert (matrix(nobody) == 0).all()


def check_gradient(case: RouterCase) -> None:
    """The task's gradient reaches the router."""
    router = case.seeded().train()
    routing = route(case, router, case.inputs(UNITS))
    factor = torch.randn(routing.dense_weight.shape, generator=torch.Generator().manual_seed(7))
    (routing.dense_weight * factor).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in router.parameters())


def check_state_dict(case: RouterCase) -> None:
    """A saved router, loaded into a fresh one, decides the same."""
    router = case.seeded()
    x = case.inputs(UNITS)
    route(case, router.train(), x)
    other = case.seeded(seed=9)
    other.load_state_dict(router.state_dict())
    expected = matrix(route(case, router.eval(), x))
    torch.testing.assert_close(matrix(route(case, other.eval(), x)), expected)
    torch.testing.assert_close(matrix(route(case, deepcopy(router), x)), expected)


def check_evaluation_writes_nothing(case: RouterCase) -> None:
    """Outside training no parameter and no buffer changes."""
    router = case.seeded().eval()
    before = deepcopy(router.state_dict())
    route(case, router, case.inputs(UNITS))
    for name, value in router.state_dict().items():
        assert torch.equal(value, before[name]), name


def check_configuration(case: RouterCase) -> None:
    """The configuration builds an equal router."""
    router = case.seeded()
    config = to_config(router)
    built = from_config(config)
    assert to_config(built) == config
    built.load_state_dict(router.state_dict())
    x = case.inputs(UNITS)
    torch.testing.assert_close(
        matrix(route(case, built.eval(), x)), matrix(route(case, router.eval(), x))
    )


def check_forbidden(case: RouterCase) -> None:
    """A forbidden expert is not chosen; without the edit everything is as before."""
    x = case.inputs(UNITS)
    for training in (False, True):
        router = case.seeded().train(training)
        everything = list(range(router.score_function.num_experts))
        for forbidden in ([1], everything[1:], everything):
            with edit_routing(router, Forbid(forbidden)):
                edited = route(case, router, x)
            assert not edited.chosen[:, forbidden].any()
            assert torch.isfinite(matrix(edited)).all()
        assert all(torch.isfinite(b).all() for b in router.buffers())
    router = case.seeded().eval()
    before = matrix(route(case, router, x))
    with edit_routing(router, Forbid([1])):
        route(case, router, x)
    assert torch.equal(matrix(route(case, router, x)), before)


router_checks: list[Callable[[RouterCase], None]] = [
    check_shapes,
    check_weights,
    check_extreme_sizes,
    check_extreme_values,
    check_precision,
    check_autocast,
    check_determinism,
    check_permutation,
    check_causality,
    check_mask,
    check_gradient,
    check_state_dict,
    check_evaluation_writes_nothing,
    check_configuration,
    check_forbidden,
]
