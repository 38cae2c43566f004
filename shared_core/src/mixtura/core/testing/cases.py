"""What is checked: a name, a way to build it small, and what it is excused from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from mixtura.core.errors import InputError
from mixtura.core.experts.base import Experts
from mixtura.core.losses.base import Loss
from mixtura.core.router import Router

__all__ = [
    "DIM",
    "EXPERTS",
    "LOSSES",
    "ROUTERS",
    "ExpertsCase",
    "LossCase",
    "Registry",
    "RouterCase",
    "parametrize_with_checks",
]

DIM = 8


@dataclass
class RouterCase:
    """A router to check.

    Args:
        name: as it appears in the tests' ids.
        build: (number of experts, choices) to a router for inputs of width 8; what a router has no
            choice about it may ignore.
        context: (units, number of experts) to what the router has to be told besides.
        excused: names of checks that cannot hold, each with the reason.
        normalized: whether the weights of every unit sum to 1.
    """

    name: str
    build: Callable[[int, int], Router]
    context: Callable[[int, int], dict[str, Any]] = lambda units, experts: {}
    excused: Mapping[str, str] = field(default_factory=dict)
    normalized: bool = False

    def seeded(self, experts: int = 4, k: int = 2, seed: int = 0) -> Router:
        """A router whose parameters depend on the seed alone."""
        torch.manual_seed(seed)
        return self.build(experts, k)

    def inputs(self, units: int, seed: int = 1) -> Tensor:
        """Inputs that depend on the seed alone."""
        return torch.randn(units, DIM, generator=torch.Generator().manual_seed(seed))


@dataclass
class ExpertsCase:
    """A bank of experts to check.

    Args:
        name: as it appears in the tests' ids.
        build: number of experts to a bank for rows of width 8.
        excused: names of checks that cannot hold, each with the reason.
        rows: what follows the unit in an input's shape.
        draw: (shape, generator) to an input.
    """

    name: str
    build: Callable[[int], Experts]
    excused: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[int, ...] = (DIM,)
    draw: Callable[[tuple[int, ...], torch.Generator], Tensor] = lambda shape, generator: (
        torch.randn(shape, generator=generator)
    )

    def seeded(self, experts: int = 4, seed: int = 0) -> Experts:
        """A bank whose parameters depend on the seed alone."""
        torch.manual_seed(seed)
        return self.build(experts)

    def inputs(self, units: int, seed: int = 1) -> Tensor:
        """Inputs that depend on the seed alone."""
        return self.draw((units, *self.rows), torch.Generator().manual_seed(seed))


@dataclass
class LossCase:
    """A loss to check.

    Args:
        name: as it appears in the tests' ids.
        build: (number of experts, choices) to a loss.
        router: (number of experts, choices) to a router that has what the loss looks at, for inputs
            of width 8.
        context: number of units to what the router has to be told besides.
        excused: names of checks that cannot hold, each with the reason.
    """

    name: str
    build: Callable[[int, int], Loss]
    router: Callable[[int, int], Router]
    context: Callable[[int], dict[str, Any]] = lambda units: {}
    excused: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Checked(Protocol):
    """Anything with a name that may be excused from checks."""

    @property
    def name(self) -> str:
        """As it appears in the tests' ids."""
        ...

    @property
    def excused(self) -> Mapping[str, str]:
        """Names of checks that cannot hold, each with the reason."""
        ...


Case = TypeVar("Case", bound=Checked)


class Registry(Generic[Case]):
    """Cases by name, each name once."""

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}

    def add(self, case: Case) -> Case:
        """Register a case."""
        if case.name in self._cases:
            raise InputError(f"there is a case {case.name!r} already; choose another name")
        for check, reason in case.excused.items():
            if not reason:
                raise InputError(f"{case.name} is excused from {check} without a reason; give one")
        self._cases[case.name] = case
        return case

    def __iter__(self) -> Iterator[Case]:
        return iter(list(self._cases.values()))

    def __len__(self) -> int:
        return len(self._cases)


ROUTERS: Registry[RouterCase] = Registry()
EXPERTS: Registry[ExpertsCase] = Registry()
LOSSES: Registry[LossCase] = Registry()


def parametrize_with_checks(
    registry: Registry[Any], checks: Sequence[Callable[[Any], None]]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A pytest decorator: the test runs once for each case and check that the case is not excused.

    The test takes `case` and `check`. pytest is imported here and nowhere else.
    """
    import pytest

    pairs = [
        pytest.param(case, check, id=f"{case.name}-{check.__name__.removeprefix('check_')}")
        for case in registry
        for check in checks
        if check.__name__.removeprefix("check_") not in case.excused
    ]
    return pytest.mark.parametrize(("case", "check"), pairs)
