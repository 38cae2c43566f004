"""Style, formatting and types of the whole repository."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "command", [["ruff", "check"], ["ruff", "format", "--check"], ["basedpyright"]], ids=" ".join
)
def test_tool_finds_nothing(command: list[str], repository: Path) -> None:
    program = Path(sys.executable).with_name(command[0])
    run = subprocess.run([program, *command[1:]], cwd=repository, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
