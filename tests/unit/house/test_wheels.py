"""Every distribution as a wheel: what is in it, what it declares, and that it works alone."""

import os
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import torch

from mixtura.dynamics import GEPS, MixER, Reconstruction
from tests.unit.house.distributions import REPOSITORY, Distribution, named, workspace
from tests.unit.house.inference import TRAINING, behind_extras

MEMBERS = workspace()

# Imports a package and everything in it; what only an extra brings may be absent.
WALK = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
absent = sys.argv[2:]
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if not any(f"{error.name}.".startswith(f"{each}.") for each in absent):
            raise
"""

SIMULATE = """
import sys
from importlib.util import find_spec
from mixtura.dynamics import MixERReconstructor
model = MixERReconstructor.from_pretrained(sys.argv[1])
print(model.families_.tolist(), model.simulate([[1.0, 0.5]], [0.0, 0.5, 1.0], env=1).tolist())
print(*(name for name in sys.argv[2:] if find_spec(name)))
"""


def uv(*arguments: object) -> None:
    private = map(str, (REPOSITORY / ".tools").glob("uv-*/bin"))
    program = shutil.which("uv", path=os.pathsep.join([os.environ["PATH"], *private]))
    if program is None:
        pytest.skip("uv is neither on PATH nor in .tools; ./just setup brings it")
    run = subprocess.run(
        [program, "--quiet", *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of every member, built without a network."""
    folder = tmp_path_factory.mktemp("wheels")
    uv("build", "--all-packages", "--wheel", "--offline", "--out-dir", folder)
    return folder


def wheel_of(member: Distribution, folder: Path) -> Path:
    (path,) = folder.glob(f"{member.name.replace('-', '_')}-{member.project['version']}-*.whl")
    return path


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_wheel_holds_the_sources_and_no_data(member: Distribution, wheels: Path) -> None:
    with zipfile.ZipFile(wheel_of(member, wheels)) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        size = sum(entry.compress_size for entry in archive.infolist())
    source = member.folder / "src"
    kept = [path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {str(path.relative_to(source)) for path in kept} <= set(names)
    assert [name for name in names if not name.startswith("mixtura/")] == []
    assert "mixtura/__init__.py" not in names
    assert [name for name in names if Path(name).name.startswith("ETT")] == []
    assert size < 1_000_000


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_wheel_declares_what_the_project_declares(member: Distribution, wheels: Path) -> None:
    told = metadata(wheel_of(member, wheels))
    required = {named(text) for text in told.get_all("Requires-Dist", [])} - {member.name}
    assert required == member.declared
    assert told["License-Expression"] == "Apache-2.0"
    assert told["License-File"] == "LICENSE"
    assert told["Requires-Python"] == ">=3.11"
    assert told["Summary"]
    assert told.get_payload()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Path]:
    """A fresh virtual environment, taken away at once: it holds gigabytes."""
    folder = tmp_path / "venv"
    uv("venv", folder)
    yield folder
    shutil.rmtree(folder)


def install(name: str, wheels: Path, environment: Path) -> Path:
    """Install one of ours with what it requires, in the versions of the workspace."""
    root = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    constraints = environment / "constraints.txt"
    constraints.write_text("\n".join(root["tool"]["uv"]["constraint-dependencies"]))
    python = environment / "bin/python"
    places = ["--python", python, "--find-links", wheels, "--constraint", constraints]
    uv("pip", "install", "--no-config", *places, f"{name}=={root['project']['version']}")
    return python


@pytest.mark.slow
def test_a_shared_system_needs_no_training_code(
    wheels: Path, environment: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    system = Reconstruction(MixER(GEPS(2, 2, 4)), 3, context_start="normal")
    system.save_pretrained(tmp_path / "shared")
    python = install("mixtura-dynamics", wheels, environment)
    run = subprocess.run(
        [python, "-c", SIMULATE, tmp_path / "shared", *sorted(TRAINING)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    told, installed = run.stdout.splitlines()
    assert installed == ""
    states = system.eval()(
        torch.tensor([[[1.0, 0.5]]]), torch.tensor([0.0, 0.5, 1.0]), environments=torch.tensor([1])
    ).states
    assert told == f"{system.family().tolist()} {states[0].tolist()}"


@pytest.mark.slow
@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_wheel_works_alone(
    member: Distribution, wheels: Path, environment: Path, tmp_path: Path
) -> None:
    python = install(member.name, wheels, environment)
    package = member.package or "mixtura.core"
    commands = [[python, "-c", WALK, package, *sorted(behind_extras(member))]]
    commands += [[python.parent / name, "--help"] for name in member.project.get("scripts", {})]
    for command in commands:
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
