"""What there is to check: every domain package and every app that is installed."""

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytorch_lightning as pl
from torch import nn

import mixtura
from mixtura.core.configuration import CONFIGURABLE
from mixtura.training.cli import App
from mixtura.training.testing.cases import DATA, NETWORKS, DataCase, NetworkCase

__all__ = ["Domain", "apps", "domains", "missing"]

OTHERS = {"apps", "core", "training"}


@dataclass
class Domain:
    """A package and what its module `testing` says.

    Attributes:
        name: Such as `forecasting`.
        package: The package.
        networks: Its cases.
        data: Its cases.
        unchecked: Public classes without a case, each with the reason.
    """

    name: str
    package: ModuleType
    networks: list[NetworkCase] = field(default_factory=list)
    data: list[DataCase] = field(default_factory=list)
    unchecked: Mapping[str, str] = field(default_factory=dict)

    def public(self, kind: type) -> set[str]:
        """Names of the public classes of a kind that a configuration can build."""
        return {
            name
            for name in self.package.__all__
            if isinstance(found := getattr(self.package, name), type)
            and issubclass(found, kind)
            and (kind is pl.LightningDataModule or not issubclass(found, pl.LightningModule))
            and getattr(found.__init__, CONFIGURABLE, False)
        }


def missing(found: Sequence[Domain]) -> dict[str, set[str]]:
    """Public networks and data modules that no case builds and no reason excuses, by package."""
    networks = {type(part).__name__ for case in NETWORKS for part in case.seeded().modules()}
    data = {case.name for case in DATA}
    left = {
        domain.name: (domain.public(nn.Module) - networks | domain.public(pl.LightningDataModule))
        - data
        - set(domain.unchecked)
        for domain in found
    }
    return {name: classes for name, classes in left.items() if classes}


def domains() -> list[Domain]:
    """Every installed package beside core and training, its cases registered."""
    found = []
    for each in pkgutil.iter_modules(mixtura.__path__):
        if each.name in OTHERS:
            continue
        package = import_module(f"mixtura.{each.name}")
        domain = Domain(each.name, package)
        if find_spec(f"mixtura.{each.name}.testing") is not None:
            cases: Any = import_module(f"mixtura.{each.name}.testing")
            domain.networks = list(getattr(cases, "NETWORKS", []))
            domain.data = list(getattr(cases, "DATA", []))
            domain.unchecked = getattr(cases, "UNCHECKED", {})
        known = {case.name for case in (*NETWORKS, *DATA)}
        for network in domain.networks:
            if network.name not in known:
                NETWORKS.add(network)
        for data in domain.data:
            if data.name not in known:
                DATA.add(data)
        found.append(domain)
    return found


def apps() -> list[App]:
    """Every installed app."""
    if find_spec("mixtura.apps") is None:
        return []
    root = import_module("mixtura.apps")
    return [
        import_module(f"mixtura.apps.{each.name}.main").APP
        for each in pkgutil.iter_modules(root.__path__)
    ]
