"""Every shared fixture agrees with the reference implementation."""

from pathlib import Path

import pytest

from .fixture import find_fixtures
from .locate import parity_folder
from .registry import UnknownSystem, find_system
from .run import check_fixture


def shared_fixtures() -> list[Path]:
    folder = parity_folder()
    return find_fixtures(folder) if folder else []


def is_known(folder: Path) -> bool:
    try:
        find_system(folder.name)
    except UnknownSystem:
        return False
    return True


@pytest.mark.skipif(not shared_fixtures(), reason="set MIXTURA_PARITY to the folder of fixtures")
@pytest.mark.parametrize("folder", shared_fixtures(), ids=lambda folder: folder.name)
def test_fixture_agrees(folder: Path) -> None:
    if not is_known(folder):
        pytest.skip(f"{folder.name} belongs to a system that is not here yet")
    failed = [str(line) for line in check_fixture(folder).lines if not line.passed]
    assert not failed, "\n".join(failed)
