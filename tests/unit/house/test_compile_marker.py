"""The `compile` marker: such a test runs without the shape checks, and its outcome is reported."""

import subprocess
import sys
from pathlib import Path

import pytest

MARKED = """
import os
import pytest

pytestmark = pytest.mark.compile

def test_passes(pytestconfig):
    assert pytestconfig.getoption("jaxtyping_packages") == ""

def test_fails():
    assert 2 + 2 == 5

def test_skips():
    pytest.skip("there is no compiler")

def test_ends_the_process():
    os._exit(1)

def test_after_it():
    pass
"""


def test_annotations_are_checked_where_nothing_is_marked(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("jaxtyping_packages").startswith("mixtura,beartype.beartype")


def test_outcomes_of_marked_tests_are_reported(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    compile\n    gpu\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/conftest.py").write_text((repository / "tests/conftest.py").read_text())
    (tmp_path / "tests/test_marked.py").write_text(MARKED)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "--jaxtyping-packages=absent,beartype.beartype"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "2 failed, 2 passed, 1 skipped" in run.stdout
    assert "assert (2 + 2) == 5" in run.stdout
    assert "there is no compiler" in run.stdout
    assert "ended the process" in run.stdout
