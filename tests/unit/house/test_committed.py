"""What git tracks: nothing that belongs to one machine or to one registry."""

import re
import subprocess
from pathlib import Path

import pytest

HOSTS = re.compile(r'registry = "http|index-url *= *"?http|"resolved": "http|/simple/?"')
PLACE = re.compile(r'": "/[\w.-]+/[^" ]+"')
LARGEST = 4_000_000


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    """The files in git's index that are there."""
    run = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True)
    if run.returncode:
        pytest.skip("this is not a git working tree")
    return [path for name in run.stdout.split("\0") if (path := repository / name).is_file()]


def test_no_lock_file_is_tracked(tracked: list[Path]) -> None:
    assert [path for path in tracked if path.name in {"uv.lock", "poetry.lock"}] == []


def test_no_registry_is_named(tracked: list[Path]) -> None:
    this = Path(__file__).resolve()
    texts = [path for path in tracked if path != this and path.suffix in {".py", ".toml", ".yaml"}]
    assert [path for path in texts if HOSTS.search(path.read_text())] == []


def test_results_name_no_place_on_a_machine(tracked: list[Path]) -> None:
    results = [path for path in tracked if "results" in path.parts and path.suffix == ".json"]
    assert results
    assert [path for path in results if PLACE.search(path.read_text())] == []


def test_no_large_file_is_tracked(tracked: list[Path]) -> None:
    assert {path: path.stat().st_size for path in tracked if path.stat().st_size > LARGEST} == {}
