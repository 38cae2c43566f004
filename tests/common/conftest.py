"""The exceptions from the common checks are counted and printed."""

import sys
from typing import Any

import pytest


def exceptions() -> list[str]:
    """Every exception of what was collected, with its reason."""
    core: Any = sys.modules.get("mixtura.core.testing")
    training: Any = sys.modules.get("mixtura.training.testing")
    registries = [core.ROUTERS, core.EXPERTS] if core else []
    registries += [training.NETWORKS, training.DATA] if training else []
    found = []
    for case in (case for registry in registries for case in registry):
        found += [f"{case.name}, {check}: {why}" for check, why in case.excused.items()]
        idle = getattr(case, "idle", {})
        found += [f"{case.name}, gradient of {name}: {why}" for name, why in idle.items()]
    tiny: Any = sys.modules.get("tests.common.training.tiny")
    for table in (tiny.NOT_TRAINED, tiny.NOT_SEEDED) if tiny else ():
        found += [f"{name}: {why}" for name, why in table.items()]
    return found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """How many exceptions there are; with `-v` which."""
    found = exceptions()
    if not found:
        return
    terminalreporter.write_line(f"common checks: {len(found)} exceptions, each with its reason")
    if config.getoption("verbose") > 0:
        for line in found:
            terminalreporter.write_line(f"  {line}")
