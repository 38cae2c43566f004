"""The arrows between the distributions: each imports what it declares, and declares what it may."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.unit.house.distributions import Distribution, named, workspace

MEMBERS = [member for member in workspace() if member.package]
OWNERS = {str(member.package): member.name for member in MEMBERS}
INSTALLED = packages_distributions()
DOMAINS = {
    member.name
    for member in MEMBERS
    if member.room == "packages" and member.name not in {"mixtura-training", "mixtura-posttraining"}
}
HEAVY = {"pytorch_lightning", "lightning", "timm", "transformers", "pandas", "matplotlib", "scipy"}


def imported(path: Path) -> Iterator[str]:
    """The absolute names that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module in {"mixtura", "mixtura.apps"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            if isinstance(first, ast.Constant) and not str(first.value).startswith("."):
                yield str(first.value)


def providers(module: str) -> set[str]:
    """The distributions that may provide a module; empty for the standard library."""
    top = module.partition(".")[0]
    if top == "mixtura":
        return {owner for prefix, owner in OWNERS.items() if f"{module}.".startswith(f"{prefix}.")}
    if top in sys.stdlib_module_names:
        return set()
    return {named(name) for name in INSTALLED.get(top, [top])}


def allowed(member: Distribution) -> set[str]:
    """The members of the workspace that a member may know."""
    if member.name == "mixtura-core":
        return set()
    if member.room == "datasets" or member.name == "mixtura-training":
        return {"mixtura-core"}
    if member.name == "mixtura-posttraining":
        return {"mixtura-core", "mixtura-training"}
    if member.name in DOMAINS:
        return {"mixtura-core", "mixtura-training", "mixtura-datasets"}
    return {other.name for other in MEMBERS if other.room != "apps"}


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_imports_are_declared(member: Distribution) -> None:
    undeclared = [
        f"{path.relative_to(member.folder)} imports {module}"
        for path in member.sources
        for module in imported(path)
        if (owners := providers(module)) and not owners & (member.declared | {member.name})
    ]
    assert undeclared == []


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_arrows_go_one_way(member: Distribution) -> None:
    known = {name for name in member.declared if name in OWNERS.values()}
    assert known <= allowed(member)


def test_meta_package_brings_every_member() -> None:
    root, *members = workspace()
    declared = {member.name: member.declared for member in members}
    reached, ahead = set(), root.declared
    while ahead:
        reached |= ahead
        ahead = {name for known in ahead for name in declared.get(known, ())} - reached
    assert {member.name for member in members} <= reached


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_mixtura_is_a_namespace_and_typed(member: Distribution) -> None:
    source = member.folder / "src"
    assert not (source / "mixtura/__init__.py").exists()
    assert not (source / "mixtura/apps/__init__.py").exists()
    assert (source / str(member.package).replace(".", "/") / "py.typed").is_file()


def test_core_declares_torch_and_jaxtyping_only() -> None:
    core = next(member for member in MEMBERS if member.name == "mixtura-core")
    assert {named(one) for one in core.project["dependencies"]} == {"torch", "jaxtyping"}
    assert core.extras == {"testing": ["pytest>=8"]}  # for checks of components of one's own


def test_core_loads_nothing_heavy_but_torch() -> None:
    program = """
import importlib, sys, mixtura.core
for name in mixtura.core.__all__:
    getattr(mixtura.core, name)
print(*{name.partition('.')[0] for name in sys.modules})"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert "torch" in loaded
    assert loaded & HEAVY == set()
