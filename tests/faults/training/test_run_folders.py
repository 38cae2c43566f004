"""Two runs never share a folder; a folder that cannot be written is a sentence."""

from pathlib import Path

import pytest

from mixtura.core.errors import InputError
from mixtura.training.runs import claim, release
from tests.faults.training.runner import forked, wait


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXTURA_RUN_FOLDER", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


def test_numbers_go_up(tmp_path: Path) -> None:
    assert [claim(tmp_path, "a").name for _ in range(3)] == ["0", "1", "2"]
    assert claim(tmp_path, "a", "test").name == "test-0"
    (tmp_path / "a" / "0").rmdir()
    assert claim(tmp_path, "a").name == "3"


def test_many_at_once(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(20):
            folder = claim(tmp_path, "a")
            (folder / "mine").open("x").close()

    pids = [forked(work) for _ in range(8)]
    assert [wait(pid) for pid in pids] == [0] * 8
    assert len(list((tmp_path / "a").iterdir())) == 160


def test_other_ranks_follow_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = claim(tmp_path, "a")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert claim(tmp_path, "a") == first


def test_given_back_only_while_empty(tmp_path: Path) -> None:
    refused = claim(tmp_path, "a")
    release()
    assert not refused.exists()
    used = claim(tmp_path, "a")
    (used / "config.yaml").write_text("")
    release()
    assert used.name == "0"
    assert (used / "config.yaml").exists()
    release()  # nothing is claimed any more


def test_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        claim(tmp_path / "file", "a")
