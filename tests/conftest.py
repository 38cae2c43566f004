"""What every test shares: one thread, the shape checks, and the way around them for compiled code.

The import hook of jaxtyping checks each annotation of `mixtura` with beartype (`addopts` in
pyproject.toml). torch.compile cannot trace them, so a test marked `compile` runs in a second
pytest process without the hook, which all marked tests share. They may use the inductor
back end only if a C++ compiler is there (`shutil.which("c++")`); "eager" always works.
To run any test without the checks: `pytest --jaxtyping-packages= PATH`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Before torch is imported; the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
OUTCOMES = "MIXTURA_UNCHECKED_OUTCOMES"

marked_tests = pytest.StashKey[list[str]]()
unchecked_outcomes = pytest.StashKey[dict[str, tuple[str, str]]]()

# A shape-checked call is slow at times; in continuous integration the examples do not change.
hypothesis.settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the tests of a GPU where there is none, and list those of compiled code."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Remember the selected tests of compiled code."""
    marked = [item.nodeid for item in session.items if item.get_closest_marker("compile")]
    session.config.stash[marked_tests] = marked
    session.config.stash[unchecked_outcomes] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Report what a test of compiled code did in the process without shape checks."""
    config = pyfuncitem.config
    if not config.getoption("jaxtyping_packages") or not pyfuncitem.get_closest_marker("compile"):
        return None
    outcomes = config.stash[unchecked_outcomes]
    if pyfuncitem.nodeid not in outcomes:
        outcomes.update(run_unchecked(config.stash[marked_tests]))
    outcome, text = outcomes[pyfuncitem.nodeid]
    if outcome == "skipped":
        pytest.skip(text)
    if outcome == "failed":
        pytest.fail(text, pytrace=False)
    return True


def run_unchecked(tests: list[str]) -> dict[str, tuple[str, str]]:
    """Run tests in a fresh pytest without the import hook; gives outcome and text by test.

    A test that ends the process has failed; those after it are run in another one.
    """
    command = [sys.executable, "-m", "pytest", "--jaxtyping-packages=", "-m", "", "-q"]
    outcomes: dict[str, tuple[str, str]] = {}
    while waiting := [test for test in tests if test not in outcomes]:
        with tempfile.NamedTemporaryFile("r") as lines:
            environment = {**os.environ, OUTCOMES: lines.name}
            subprocess.run(
                [*command, *waiting], cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL
            )
            found = dict(map(json.loads, lines))
        outcomes |= found or {waiting[0]: ("failed", "It ended the process without shape checks.")}
    return outcomes


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Each test of compiled code begins with nothing compiled: layers share their code."""
    if not item.config.getoption("jaxtyping_packages") and "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """In that process: write down each outcome as it is known."""
    lines = os.environ.get(OUTCOMES)
    if lines is None or (report.when != "call" and report.passed):
        return
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    with Path(lines).open("a") as file:
        file.write(json.dumps([report.nodeid, [report.outcome, text]]) + "\n")
