"""Systems by name. A file in `systems/` registers itself; the longest known prefix wins."""

import importlib
import pkgutil
from collections.abc import Callable

from . import systems
from .fixture import Fixture
from .report import Report

Check = Callable[[Fixture, Report], None]

_SYSTEMS: dict[str, Check] = {}
SEPARATORS = "-_"
# Systems that are not here yet and whose name begins with the name of one that is.
ABSENT = ("diffmoe_flow",)


class UnknownSystem(ValueError):
    """A fixture folder whose name begins with no known system."""


def system(*names: str) -> Callable[[Check], Check]:
    """Register the decorated check for fixtures whose folder's name begins with one of `names`."""

    def register(check: Check) -> Check:
        for name in names:
            if name in _SYSTEMS:
                raise ValueError(f"two checks are registered for the system {name!r}; keep one")
            _SYSTEMS[name] = check
        return check

    return register


def known_systems() -> dict[str, Check]:
    """All checks, after importing every file of `systems/`."""
    for module in pkgutil.iter_modules(systems.__path__):
        importlib.import_module(f"{systems.__name__}.{module.name}")
    return _SYSTEMS


def find_system(folder_name: str) -> Check:
    """The check of the longest known name that the folder's name begins with.

    Raises:
        UnknownSystem: when there is none.
    """
    matches = [
        name
        for name in known_systems()
        if folder_name == name
        or (folder_name.startswith(name) and folder_name[len(name)] in SEPARATORS)
    ]
    if not matches or folder_name.startswith(ABSENT):
        raise UnknownSystem(
            f"{folder_name} begins with no known system; known: {', '.join(sorted(_SYSTEMS))}"
        )
    return _SYSTEMS[max(matches, key=len)]
