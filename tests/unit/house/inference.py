"""A process in which only what a distribution requires without extras can be imported."""

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

from tests.unit.house.distributions import Distribution, named, workspace

TRAINING = {
    "jsonargparse",
    "lightning_fabric",
    "matplotlib",
    "omegaconf",
    "pytorch_lightning",
    "sklearn",
    "tensorboard",
    "torchmetrics",
}

ONLY = """
import json, sys

class Rest:
    def __init__(self, finders, absent):
        self.finders, self.absent = finders, absent

    def find_spec(self, name, path=None, target=None):
        if any(f"{name}.".startswith(f"{each}.") for each in self.absent):
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, *context):
        for finder in self.finders:
            yield from getattr(finder, "find_distributions", lambda *_: ())(*context)

sys.meta_path[:] = [Rest(list(sys.meta_path), json.loads(sys.argv.pop(1)))]
"""


def required(name: str) -> set[str]:
    """The distributions that `pip install name` brings; extras in brackets, like `a[b]`."""
    members = {member.name: member for member in workspace()}
    found: set[tuple[str, str]] = set()

    def add(requirement: Requirement) -> None:
        for extra in ("", *requirement.extras):
            if (key := (named(requirement.name), extra)) not in found:
                found.add(key)
                for each in needs(*key):
                    add(each)

    def needs(owner: str, extra: str) -> list[Requirement]:
        if owner in members:
            member = members[owner]
            listed = member.extras[extra] if extra else member.project["dependencies"]
            return [Requirement(text) for text in listed]
        try:
            all_of_it = [Requirement(text) for text in requires(owner) or ()]
        except PackageNotFoundError:  # not for this platform
            return []
        return [
            each
            for each in all_of_it
            if each.marker is None
            or (
                each.marker.evaluate({"extra": extra})
                and (not extra or "extra" in str(each.marker))
            )
        ]

    add(Requirement(name))
    return {owner for owner, _ in found}


def absent_without(name: str) -> set[str]:
    """What is installed here and `pip install name` does not bring: modules, parts of Mixtura."""
    there = required(name)
    others = {member.package for member in workspace() if member.name not in there}
    return {str(package) for package in others if package} | {
        module
        for module, owners in packages_distributions().items()
        if module != "mixtura" and not there & {named(owner) for owner in owners}
    }


def behind_extras(member: Distribution) -> set[str]:
    """The modules that only an extra of a member brings."""
    every = f"{member.name}[{','.join(member.extras)}]" if member.extras else member.name
    return absent_without(member.name) - absent_without(every)


def run_with_only(name: str, program: str, *arguments: str | Path) -> str:
    """Run a program where nothing is importable but what `pip install name` brings.

    Returns:
        What it printed.
    """
    absent = absent_without(name)
    command = [sys.executable, "-c", ONLY + program, json.dumps(sorted(absent))]
    run = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    return run.stdout
