"""A recipe is run, killed, continued, and makes a true table."""

import json
from pathlib import Path
from typing import Any

import pytest

from mixtura.core.errors import InputError
from mixtura.training.benchmark import read_recipe
from mixtura.training.benchmark.jobs import Job
from tests.e2e.training.toyapp.main import main
from tests.e2e.training.toyapp.model import ToyClassifier


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXTURA_RUN_FOLDER", raising=False)


def test_killed_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "benchmarks/toys-quick"
    original, ran = Job._train, []

    def train(self: Job, *args: Any) -> Any:
        ran.append((self.entry.name, args[0].name, self.seed))
        if len(ran) == 4:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(Job, "_train", train)
    assert main(["benchmark", "toys", "--quick"]) == 130
    half = json.loads((folder / "results.json").read_text())
    assert [row["loss"] is None for row in half["rows"]].count(True) == 2
    kept = {
        path: path.stat().st_mtime_ns for path in folder.rglob("*.json") if "jobs" in path.parts
    }

    monkeypatch.setattr(Job, "_train", original)
    assert main(["benchmark", "toys", "--quick"]) == 0
    for path, time in kept.items():
        if path.name not in ("started.json",):
            assert path.stat().st_mtime_ns == time, f"{path} was made again"
    full = json.loads((folder / "results.json").read_text())
    by = {(row["model"], row["setting"]): row for row in full["rows"]}
    assert all(row["loss"] is not None and row["seeds"] == 2 for row in by.values())
    assert by["four", "few"]["loss paper"] == 0.9
    assert by["four", "many"]["loss paper"] is None
    losses = [
        r["figures"]["loss"] for r in full["runs"] if (r["model"], r["setting"]) == ("four", "few")
    ]
    assert by["four", "few"]["loss"] == pytest.approx(sum(losses) / 2)
    assert by["four", "few"]["loss sd"] == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5)
    assert by["eight", "few"]["parameters"] > by["four", "few"]["parameters"]
    assert by["eight", "few"]["active_parameters"] < by["four", "few"]["parameters"]
    assert by["four", "few"]["width"] == 8
    assert by["four", "few"]["flops"] > 0
    assert full["quick"]
    assert full["hardware"]
    assert len(list(folder.glob("jobs/eight/all/*/trained.json"))) == 2, "trained once per seed"
    table = (folder / "results.md").read_text()
    assert "quick: not the published setting" in table
    assert "`mixtura-toy benchmark toys --quick`" in table
    assert (folder / "results.png").stat().st_size > 5000


def test_rows_that_were_not_run_stay_blank(tmp_path: Path) -> None:
    assert (
        main(["benchmark", "toys", "--quick", "--models=four", "--settings=few", "--seeds=1"]) == 0
    )
    table = (tmp_path / "benchmarks/toys-quick/results.md").read_text()
    assert "| many | eight |  |  |  |" in table
    rows = json.loads((tmp_path / "benchmarks/toys-quick/results.json").read_text())["rows"]
    assert rows[0]["loss sd"] is None


def test_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "toys", "--models", "fore"]) == 2
    assert "did you mean four" in capsys.readouterr().err
    path = tmp_path / "r.yaml"
    for text, words in (
        ("modls: {}", "did you mean models"),
        ("models: {a: {config: tiny}}\nsettings: {x: {}}", "needs 'figures'"),
        ("models: {'a, b': tiny}\nsettings: {x: {}}\nfigures: [loss]", "has a comma"),
        ("models: {a: {conf: tiny}}\nsettings: {x: {}}\nfigures: [loss]", "did you mean config"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_recipe(path)


def test_a_training_that_was_cut_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the very figures of one that was not."""
    args = ["benchmark", "toys", "--models=four", "--settings=few", "--seeds=1"]
    assert main([*args, "--out=whole"]) == 0

    def cut(self: ToyClassifier) -> None:
        if self.current_epoch == 1:
            raise RuntimeError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(ToyClassifier, "on_train_epoch_start", cut)
        with pytest.raises(RuntimeError, match="power"):
            main([*args, "--out=cut"])
    assert main([*args, "--out=cut"]) == 0
    assert figures(tmp_path / "whole") == figures(tmp_path / "cut")
    assert len(list((tmp_path / "cut").rglob("config.yaml"))) == 3, "two trainings and one test"


def test_other_options_are_another_training(tmp_path: Path) -> None:
    """A better model that was trained with other options before is not what is scored."""
    args = ["benchmark", "toys", "--models=four", "--settings=few", "--seeds=1"]
    assert main([*args, "--out=again"]) == 0
    assert main([*args, "--out=again", "--quick"]) == 0
    assert main([*args, "--out=fresh", "--quick"]) == 0
    assert figures(tmp_path / "again") == figures(tmp_path / "fresh")


def figures(folder: Path) -> dict[str, float]:
    """Of the only run of a benchmark."""
    (run,) = json.loads((folder / "results.json").read_text())["runs"]
    return run["figures"]
