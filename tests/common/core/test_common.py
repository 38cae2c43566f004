"""Every registered router and bank of experts passes the common checks."""

import pytest

import mixtura.core
from mixtura.core import Adjustment, Experts, InputError, Loss, Router, Score, Selection
from mixtura.core.testing import (
    EXPERTS,
    LOSSES,
    ROUTERS,
    Registry,
    RouterCase,
    expert_checks,
    layer_checks,
    loss_checks,
    parametrize_with_checks,
    router_checks,
)


@parametrize_with_checks(ROUTERS, router_checks)
def test_router(case, check) -> None:
    check(case)


@parametrize_with_checks(ROUTERS, layer_checks)
def test_layer(case, check) -> None:
    check(case)


@parametrize_with_checks(EXPERTS, expert_checks)
def test_experts(case, check) -> None:
    check(case)


@parametrize_with_checks(LOSSES, loss_checks)
def test_loss(case, check) -> None:
    check(case)


def test_every_public_loss_is_registered() -> None:
    public = {
        kind
        for kind in (getattr(mixtura.core, name) for name in mixtura.core.__all__)
        if isinstance(kind, type) and issubclass(kind, Loss)
    }
    assert public - {type(case.build(4, 2)) for case in LOSSES} == {Loss}


@pytest.mark.parametrize(
    ("kind", "registry", "bases"),
    [
        (Score, ROUTERS, {"Score"}),
        (Selection, ROUTERS, {"Selection", "SelectionWrapper"}),
        (Adjustment, ROUTERS, {"Adjustment"}),
        (Experts, EXPERTS, {"Experts", "StackedExperts"}),
    ],
)
def test_every_public_component_is_registered(kind, registry, bases) -> None:
    public = {
        name
        for name in mixtura.core.__all__
        if isinstance(getattr(mixtura.core, name), type)
        and issubclass(getattr(mixtura.core, name), kind)
    }
    checked = {type(part).__name__ for case in registry for part in case.seeded().modules()}
    assert public - checked - bases == set()


def test_a_case_needs_its_own_name_and_reasons() -> None:
    registry: Registry[RouterCase] = Registry()

    def build(experts: int, k: int) -> Router:
        raise NotImplementedError

    registry.add(RouterCase("one", build))
    with pytest.raises(InputError, match="already"):
        registry.add(RouterCase("one", build))
    with pytest.raises(InputError, match="without a reason"):
        registry.add(RouterCase("two", build, excused={"mask": ""}))
