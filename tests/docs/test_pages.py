"""What the pages say works: shell and Python blocks run, links and named files exist.

A block below `<!-- skip: reason -->` is not run; one below `<!-- slow: reason -->` is run by
`./just docs`. The Python blocks of a page share their names, as if typed one after the other.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks
from tests.unit.house.distributions import REPOSITORY, workspace

READMES = [member.folder / "README.md" for member in workspace()]
PAGES = [*READMES, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
SHOWN = {"", "text", "yaml", "json", "toml", "bibtex", "mermaid"}

# Lines that other tests stand for.
ELSEWHERE = {
    r"\./just demo\b": "the end-to-end tests run the demo",
    r"\./just (test|slow|faults|e2e|docs|lint|type)\b": "it is a run of the tests",
    r"\./just (setup|fmt)\b": "it changes the working tree",
    r"(git clone|cd) ": "the repository is here",
    r"\. \.venv/bin/activate$": "its programs are on the path already",
    r"\./just wheels|.*\bpip install ": "tests/unit/house/test_wheels.py installs every wheel",
}


def marked(page: Path, found: list[Block]) -> object:
    """A page's blocks as a parameter, marked as the remarks above them say."""
    name = str(page.relative_to(REPOSITORY))
    if len(found) == 1:
        name += f":{found[0].line}"
    marks = []
    for block in found:
        if block.remark == "skip":
            marks.append(pytest.mark.skip(reason=str(block.reason)))
        elif block.remark == "slow":
            marks.append(pytest.mark.slow)
    return pytest.param(found, id=name, marks=marks)


def of(*languages: str) -> dict[Path, list[Block]]:
    """The blocks in some languages, by page."""
    found = {page: [b for b in blocks(page) if b.language in languages] for page in PAGES}
    return {page: listed for page, listed in found.items() if listed}


SHELL = [marked(page, [block]) for page, found in of("sh", "bash").items() for block in found]
PYTHON = [
    marked(page, [block for block in found if block.remark != "skip"])
    for page, found in of("python").items()
]


@pytest.mark.parametrize("found", SHELL)
def test_shell_block_runs(found: list[Block], tmp_path: Path) -> None:
    (block,) = found
    lines = block.text.replace("\\\n", " ").splitlines()
    kept = [line for line in lines if not any(re.match(start, line) for start in ELSEWHERE)]
    reasons = {why for line in lines for start, why in ELSEWHERE.items() if re.match(start, line)}
    if not any(line.partition("#")[0].strip() for line in kept):
        pytest.skip("; ".join(sorted(reasons)))
    (tmp_path / "just").write_text(f'#!/bin/sh\nexec "{REPOSITORY}/just" "$@"\n')
    (tmp_path / "just").chmod(0o755)
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["sh", "-euc", "\n".join(kept)],
        cwd=tmp_path,
        env={**os.environ, "PATH": programs},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("found", PYTHON)
def test_python_blocks_run(
    found: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in found:
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, str(block.page), "exec"), names)
    assert names.keys() > {"__name__", "__builtins__"}, "the blocks do nothing"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_and_languages_are_known(page: Path) -> None:
    known = SHOWN | {"sh", "bash", "python"}
    assert {block.language for block in blocks(page)} <= known
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", page.read_text())
    local = [target for pair in targets for target in pair if target and "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_files_named_in_contributing_exist() -> None:
    spans = re.findall(r"`([^`\n]+)`", (REPOSITORY / "CONTRIBUTING.md").read_text())
    paths = [span for span in spans if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", span)]
    assert len(paths) > 10
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
