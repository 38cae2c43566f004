"""The forecasting command line on real data, small."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixtura.apps.forecasting.configurations import FOLDER
from mixtura.apps.forecasting.main import main
from mixtura.forecasting import Forecaster, SegMoEForecaster
from mixtura.training.cli.names import available

TINY = str(Path(__file__).with_name("tiny.yaml"))
DLINEAR = str(Path(__file__).with_name("tiny-dlinear.yaml"))
# They begin with released weights and a folder of sequences: test_readme.py and tests/common.
NEED_FILES = {"timemoe/finetune", "timemoe/pretrain"}


def run(*args: str) -> None:
    assert main([*args]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training run."""
    root = tmp_path_factory.mktemp("runs")
    run("fit", "--config", TINY, f"--trainer.default_root_dir={root}")
    return root / "tiny" / "0"


def test_a_run_leaves_configuration_logs_and_checkpoints(trained: Path) -> None:
    names = {path.name for path in trained.rglob("*")}
    assert {"config.yaml", "metrics.csv", "best.ckpt", "last.ckpt"} <= names
    assert any(name.startswith("events.out") for name in names)
    assert "${" not in (trained / "config.yaml").read_text()
    figures = pd.read_csv(trained / "metrics.csv")
    assert {"train/loss", "val/mse", "val/mae"} <= set(figures.columns)


def test_test_and_predict_read_the_checkpoint(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = f"--ckpt_path={trained / 'checkpoints' / 'best.ckpt'}"
    run("test", checkpoint, f"--trainer.default_root_dir={tmp_path}")
    assert "test/mse" in capsys.readouterr().out
    run("predict", checkpoint, f"--trainer.default_root_dir={tmp_path}")
    (table,) = tmp_path.rglob("forecast.csv")
    frame = pd.read_csv(table, parse_dates=["date"])
    assert len(frame) == 24
    assert frame["date"][0] == pd.Timestamp("2018-06-26 20:00")
    assert frame.drop(columns="date").notna().all(axis=None)
    assert table.with_suffix(".png").stat().st_size > 5000


def test_export_gives_a_forecaster(trained: Path, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    run("export", f"--ckpt_path={checkpoint}", f"--to={tmp_path / 'model'}", "--measure=false")
    forecaster = SegMoEForecaster.from_pretrained(tmp_path / "model")
    index = pd.date_range("2020-01-01", periods=60, freq="h")
    columns = forecaster.channels or []
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 7)), index, columns)
    future = forecaster.predict(frame, horizon=30)
    assert future.shape == (30, 7)
    assert future.index[0] == pd.Timestamp("2020-01-03 12:00")
    assert future.equals(Forecaster.from_pretrained(tmp_path / "model").predict(frame, 30))


def test_a_resumed_run_has_the_curve_of_an_uninterrupted_one(tmp_path: Path) -> None:
    common = ["--config", TINY, "--trainer.limit_val_batches=1"]
    run("fit", *common, "--trainer.max_epochs=2", f"--trainer.default_root_dir={tmp_path / 'a'}")
    half = tmp_path / "b"
    run("fit", *common, "--trainer.max_epochs=1", f"--trainer.default_root_dir={half}")
    (last,) = half.rglob("last.ckpt")
    run(
        "fit",
        *common,
        "--trainer.max_epochs=2",
        f"--ckpt_path={last}",
        f"--trainer.default_root_dir={tmp_path / 'c'}",
    )
    whole = losses(tmp_path / "a")
    resumed = losses(tmp_path / "c")
    assert len(whole) == 4
    assert resumed == {step: loss for step, loss in whole.items() if step >= 2}


def losses(folder: Path) -> dict[int, float]:
    """Training loss by step."""
    (path,) = folder.rglob("metrics.csv")
    figures = pd.read_csv(path).dropna(subset="train/loss")
    return dict(zip(figures["step"].astype(int), figures["train/loss"], strict=True))


def test_the_demo_ends_with_a_true_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("demo", f"--out={tmp_path}", f"--config={TINY}", f"--baseline={DLINEAR}", "--max_steps=2")
    results = json.loads((tmp_path / "results.json").read_text())
    names = [result["name"] for result in results]
    assert names == ["Seg-MoE", "DLinear", "seasonal naive", "last value"]
    naive = results[2]
    assert naive["windows"] == 2880 - 24 + 1
    assert naive["parameters"] == naive["active_parameters"] == 0
    assert results[0]["active_parameters"] < results[0]["parameters"]
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("forecast.png", "routing.png"))
    printed = capsys.readouterr()
    assert "gives the same forecast" in printed.out
    assert f"{naive['mse']:.4f}" in printed.out
    assert "100%" in printed.err or "drawing" in printed.err


def test_speed_compares_with_a_dense_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "speed.json"
    run("speed", f"--config={TINY}", "--rounds=2", "--lines=3", f"--json_file={figures}")
    found = json.loads(figures.read_text())
    assert found["ratio"] > 0
    assert "aten::" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(available(FOLDER)) - NEED_FILES))
def test_every_packaged_configuration_takes_a_step(name: str, tmp_path: Path) -> None:
    own = []
    if name.endswith("custom"):
        table = tmp_path / "own.csv"
        hours = pd.date_range("2021-01-01", periods=900, freq="h")
        waves = np.sin(np.arange(900) / 24 * 2 * np.pi)
        pd.DataFrame({"date": hours, "load": waves}).to_csv(table, index=False)
        own = [f"--data.init_args.path={table}"]
    verb = "test" if name.startswith("naive/") else "fit"
    run(
        verb,
        "--config",
        name,
        "--trainer.fast_dev_run=true",
        "--trainer.accelerator=cpu",
        "--data.init_args.batch_size=2",
        "--data.init_args.eval_batch_size=2",
        *own,
    )
