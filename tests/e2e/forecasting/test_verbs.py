"""The app's own verbs: race, and score after a benchmark."""

import json
from pathlib import Path

import pytest

from mixtura.apps.forecasting.main import main


def test_race(tmp_path: Path) -> None:
    path = tmp_path / "race.json"
    sizes = ["--series", "2", "--context", "16", "--horizon", "9", "--rounds", "1"]
    args = ["race", "--small", "true", *sizes, "--jobs", "generation", "--json_file", str(path)]
    assert main(args) == 0
    racers = json.loads(path.read_text())["racers"]
    assert [one["name"] for one in racers] == ["reference", "float32", "bfloat16"]
    assert main(["race", "--jobs", "walking"]) == 2


@pytest.mark.filterwarnings("ignore")
def test_score_what_a_benchmark_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "quick")
    asked = ["--models", "DLinear", "--settings", "ETTh1-720", "--seeds", "1", "--out", out]
    assert main(["benchmark", "ltsf", "--quick", *asked]) == 0
    assert main(["score", "--benchmark", out, "--max_windows", "50"]) == 0
    rows = json.loads((tmp_path / "quick/scores.json").read_text())["rows"]
    assert {row["model"] for row in rows} == {"DLinear", "seasonal naive", "last value"}
    assert all(row["windows"] == 4 and row["mase"] > 0 and row["wql"] > 0 for row in rows)
    capsys.readouterr()
    assert main(["score", "--benchmark", str(tmp_path)]) == 2
    assert "holds no results" in capsys.readouterr().err
