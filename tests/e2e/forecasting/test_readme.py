"""Every command of the forecasting pages is run, in their order, with the files that a user has.

What other tests run as it stands (tests/docs) is run here as well: later commands go on with it.
"""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixtura.apps.forecasting.main import main
from mixtura.forecasting.checkpoints import save_time_moe, time_moe_arguments
from mixtura.forecasting.networks import TimeMoE
from tests.docs.blocks import blocks
from tests.unit.house.distributions import REPOSITORY

APP = REPOSITORY / "apps" / "forecasting" / "README.md"
PACKAGE = REPOSITORY / "packages" / "forecasting" / "README.md"
ELSEWHERE = {
    "benchmark": "tests/common",
    "demo": "test_app.py",
    "race": "test_verbs.py",
    "score": "test_verbs.py",
    "speed": "test_app.py",
}

# What makes each verb cheap and changes nothing else.
CHEAP = {
    "fit": (
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        "--trainer.limit_val_batches=1",
        "--trainer.accelerator=cpu",
    ),
    "test": ("--trainer.limit_test_batches=1",),
    "export": ("--measure=false", "--batches=1"),
    "inspect": ("--batches=1",),
}
PROGRAMS = {"pt2"}


def commands() -> list[list[str]]:
    """Every line of the app's page that calls it."""
    lines = [
        line
        for block in blocks(APP)
        if block.language == "sh"
        for line in block.text.splitlines()
        if line.strip()
    ]
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages say a user has."""
    folder = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(0)
    rows, ahead = 1200, 96
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2021-01-01", periods=rows + ahead, freq="h"),
            "load": np.sin(np.arange(rows + ahead) / 24 * 2 * np.pi) + random.random(rows + ahead),
            "wind": random.normal(size=rows + ahead),
            "temperature": random.normal(size=rows + ahead),
        }
    )
    frame[["date", "load"]][:rows].to_csv(folder / "my.csv", index=False)
    shops = frame[["date", "load"]][:rows].rename(columns={"load": "sales"})
    both = [shops.assign(shop="north"), shops[200:].assign(shop="south")]
    pd.concat(both).to_csv(folder / "shops.csv", index=False)
    frame.loc[rows:, ["load", "wind"]] = np.nan
    frame.to_csv(folder / "weather.csv", index=False)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = {**sizes, "num_attention_heads": 2, "num_experts": 2, "horizon_lengths": [1, 8]}
    save_time_moe(TimeMoE(**time_moe_arguments(config)), folder / "TimeMoE-50M")
    (folder / "TimeMoE-50M" / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def ran(home: Path) -> Path:
    """The folder after every command of the app's page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for program, verb, *options in commands():
            assert program == "mixtura-forecasting"
            if verb in ELSEWHERE or PROGRAMS & set(options):
                continue
            cheap = [each for each in CHEAP.get(verb, ()) if not replaced(each, options)]
            if verb == "fit" and "timemoe/finetune" in options:
                cheap += ["--data.look_back=32", "--data.horizon=8", "--data.eval_batch_size=2"]
            assert main([verb, *options, *cheap]) == 0, (verb, options)
    return home


def replaced(option: str, options: list[str]) -> bool:
    """Whether the page gives this option itself."""
    return option.partition("=")[0] in options


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_command_of_the_app_runs(ran: Path) -> None:
    left = {str(path.relative_to(ran)) for path in ran.rglob("*") if path.is_file()}
    assert {
        "runs/my-model/config.json",
        "runs/my-time-moe/model.safetensors",
        "runs/experts/index.html",
        "runs/experts/expert-by-clock.png",
        "runs/experts/expert-by-frequency.png",
        "runs/experts/segment-maps.png",
        "runs/experts/expert-errors.png",
    } <= left
    tables = [pd.read_csv(path) for path in ran.rglob("predict-*/forecast.csv")]
    assert len(tables) == 5
    assert any("load_q0.9" in table.columns for table in tables)
    text = (ran / "runs" / "my-model" / "README.md").read_text()
    assert "shifted by errors on validation windows" in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_program_of_the_app_is_written(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`test_exported_program` in tests/unit/training does the same with a small network."""
    monkeypatch.chdir(ran)
    programs = [options for _, *options in commands() if PROGRAMS & set(options)]
    assert programs
    for options in programs:
        assert main(options) == 0
        assert (ran / options[options.index("--to") + 1]).is_file()


def test_every_python_block_of_the_package_runs(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ran)
    names: dict[str, object] = {}
    for block in blocks(PACKAGE):
        if block.language == "python":
            exec(compile(block.text, f"README:{block.line}", "exec"), names)
    future = names["future"]
    assert isinstance(future, pd.DataFrame)
    assert future.shape == (48, 1)


def test_the_table_of_configurations_is_whole() -> None:
    folder = REPOSITORY / "apps/forecasting/src/mixtura/apps/forecasting/configs"
    there = {str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml")}
    named = set(re.findall(r"^\| (.+?) \|", APP.read_text(), re.MULTILINE))
    assert there == {
        name for row in named for name in re.findall(r"`([a-z0-9-]+/[a-z0-9-]+)`", row)
    }
