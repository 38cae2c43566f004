"""The parity tool itself: what it must refuse."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from . import registry
from .fixture import Fixture
from .report import Report
from .run import check_fixture, main


@pytest.fixture
def doubling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fixture of the system `doubling`, whose output is `factor` times its input."""

    def check(fixture: Fixture, report: Report) -> None:
        report.compare("y", fixture.input("x") * fixture.options["factor"])

    monkeypatch.setitem(registry._SYSTEMS, "doubling", check)
    folder = tmp_path / "doubling-a"
    folder.mkdir()
    write(folder, factor=2)
    return folder


def write(folder: Path, **options: object) -> None:
    x = torch.arange(3.0)
    save_file({"x": x, "y": 2 * x}, folder / "tensors.safetensors")
    (folder / "config.json").write_text(json.dumps(options))


def test_agreement_is_status_zero(doubling: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(doubling.parent)]) == 0
    assert "ok   y" in capsys.readouterr().out


def test_a_value_above_tolerance_is_status_one(doubling: Path) -> None:
    write(doubling, factor=2.001)
    assert main([str(doubling)]) == 1


def test_nan_does_not_pass(doubling: Path) -> None:
    write(doubling, factor=float("nan"))
    assert not check_fixture(doubling).passed


def test_an_unknown_option_fails(doubling: Path) -> None:
    write(doubling, factor=2, swish=True)
    assert [line.name for line in check_fixture(doubling).lines if not line.passed] == [
        "option swish"
    ]


def test_a_described_fixture_passes(doubling: Path) -> None:
    write(doubling, factor=2, _seed=3)
    assert check_fixture(doubling).passed


def test_an_uncompared_value_fails(doubling: Path) -> None:
    (doubling / "expected.json").write_text(json.dumps({"sum": {"of": [1, 2]}}))
    assert [line.name for line in check_fixture(doubling).lines if not line.passed] == ["sum.of"]


def test_an_unknown_system_fails(tmp_path: Path) -> None:
    folder = tmp_path / "nobody-knows-me"
    folder.mkdir()
    write(folder)
    assert main([str(tmp_path)]) == 1


def test_the_longest_known_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    def general(fixture: Fixture, report: Report) -> None: ...

    def special(fixture: Fixture, report: Report) -> None: ...

    monkeypatch.setitem(registry._SYSTEMS, "router", general)
    monkeypatch.setitem(registry._SYSTEMS, "router-pair", special)
    assert registry.find_system("router-pair-b") is special
    assert registry.find_system("router-pairs") is general


def test_an_empty_folder_fails(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1


def test_a_missing_folder_is_a_wrong_call(tmp_path: Path) -> None:
    assert main([str(tmp_path / "none")]) == 2
