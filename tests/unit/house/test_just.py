"""`./just` on machines that lack something: one clear sentence, exit status 2, no traceback."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOLS = ["sh", "dirname", "mkdir", "rm", "mv", "grep"]
PYTHON = Path(sys._base_executable)  # pyright: ignore[reportAttributeAccessIssue]


class Machine:
    """A folder with the wrapper and a one-recipe Justfile, and a PATH of chosen programs."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir()
        for tool in TOOLS:
            (self.programs / tool).symlink_to(str(shutil.which(tool)))
        self.root = folder / "a clone"
        self.root.mkdir()
        shutil.copy(repository / "just", self.root)
        (self.root / "Justfile").write_text(
            'set positional-arguments\nwhere *ARGS:\n    @echo here "$#:" "$@"\n'
        )

    def script(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def just(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in os.environ if "_CERT" in name or "CA_" in name}
        return subprocess.run(
            [self.root / "just", *arguments],
            env={"PATH": str(self.programs), "HOME": str(self.root), **kept, **variables},
            cwd=self.programs,
            capture_output=True,
            text=True,
        )


def says(run: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One sentence with these parts, and nothing but the line that tells what was tried."""
    lines = [line for line in run.stderr.splitlines() if not line.startswith("Installing ")]
    assert run.returncode == 2, run.stderr
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("just: ")
    for part in parts:
        assert part in lines[0]


@pytest.fixture
def machine(tmp_path: Path, repository: Path) -> Machine:
    return Machine(tmp_path, repository)


def test_no_python(machine: Machine) -> None:
    says(machine.just("where"), "no Python was found", "install Python 3.11 or newer")


def test_python_is_too_old(machine: Machine) -> None:
    machine.script("python3", "echo 3.9.18")
    machine.script("python", "echo 2.7.18")
    says(machine.just("where"), "3.11 or newer is needed", "3.9.18 was found")


def test_folder_cannot_be_written_to(machine: Machine) -> None:
    (machine.programs / "python3").symlink_to(PYTHON)
    (machine.root / ".tools").write_text("a file where the folder would be")
    says(machine.just("where"), str(machine.root), "cannot be written to")


def test_neither_pip_nor_ensurepip(machine: Machine) -> None:
    python = machine.programs / "python3"
    machine.script("python3", f'case " $* " in *" -m "*) exit 1 ;; *) echo "{python}" ;; esac')
    says(machine.just("where"), "neither pip nor ensurepip")


def test_no_registry(machine: Machine) -> None:
    (machine.programs / "python3").symlink_to(PYTHON)
    run = machine.just("where", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(machine.root))
    says(run, "could not be had from a package registry", "check the network")
    assert list((machine.root / ".tools").iterdir()) == []


def test_details_on_request(machine: Machine) -> None:
    (machine.programs / "python3").symlink_to(PYTHON)
    run = machine.just("where", PIP_NO_INDEX="1", PIP_FIND_LINKS="", MIXTURA_VERBOSE="1")
    assert run.returncode == 2
    assert "No matching distribution" in run.stderr


@pytest.mark.slow
def test_first_call_installs_and_second_does_not(machine: Machine) -> None:
    (machine.programs / "python3").symlink_to(PYTHON)
    first = machine.just("where", "one argument", "two")
    assert (first.returncode, first.stdout) == (0, "here 2: one argument two\n"), first.stderr
    begin = time.perf_counter()
    second = machine.just("where", PIP_NO_INDEX="1", UV_OFFLINE="1")
    assert time.perf_counter() - begin < 0.5
    assert (second.returncode, second.stdout, second.stderr) == (0, "here 0:\n", "")


def test_setup_without_a_registry(machine: Machine, repository: Path) -> None:
    if not list((repository / ".tools").glob("rust-just-*/bin/just")):
        pytest.skip("the runner is not in .tools; ./just brings it")
    (machine.programs / "python3").symlink_to(PYTHON)
    (machine.root / ".tools").symlink_to(repository / ".tools")
    if uv := shutil.which("uv"):
        (machine.programs / "uv").symlink_to(uv)
    shutil.copy(repository / "Justfile", machine.root)
    (machine.root / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "0"\ndependencies = ["torch"]\n'
    )
    run = machine.just("setup", UV_OFFLINE="1", UV_CACHE_DIR=str(machine.root / "cache"))
    assert run.returncode == 2
    assert run.stderr.startswith("just setup: no package registry could be reached")
    assert len(run.stderr.splitlines()) == 1
