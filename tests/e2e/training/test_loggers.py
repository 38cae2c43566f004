"""What a run says reaches every logger: figures of the task, auxiliary terms, and the routing."""

import importlib.util
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loggers import Logger

from mixtura.core.errors import InputError
from mixtura.training import TrackioLogger
from tests.e2e.training.toyapp.main import main

SAID = {"train/loss", "train/accuracy", "val/loss", "aux/load_balance/moe"}
SAID |= {f"routing/{name}/moe" for name in ("cv", "maxvio", "load_entropy", "router_entropy")}
SAID |= {f"routing/{name}/moe" for name in ("dead", "cold", "active", "load_max", "churn")}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXTURA_RUN_FOLDER", raising=False)


class Lines(Logger):
    """A logger of somebody's own: one line of JSON for each call.

    Args:
        path: The file.
    """

    name, version = "lines", "0"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = Path(path)

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")


def fit(*options: str) -> int:
    monitor = "--trainer.callbacks+=RoutingMonitor"
    quiet = "--trainer.enable_progress_bar=false"
    return main(["fit", "--config=tiny", quiet, monitor, "--trainer.callbacks.every=4", *options])


def test_a_logger_of_ones_own() -> None:
    assert fit(f"--trainer.logger={__name__}.Lines", "--trainer.logger.path=said.jsonl") == 0
    lines = [json.loads(line) for line in Path("said.jsonl").read_text().splitlines()]
    assert {name for line in lines for name in line} >= SAID
    assert {line["step"] for line in lines if "routing/cv/moe" in line} == {4, 8, 12, 16}


def test_files_and_tensorboard_by_default() -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert fit() == 0
    header = Path("runs/tiny/0/metrics.csv").read_text().splitlines()[0].split(",")
    assert set(header) >= SAID
    events = EventAccumulator("runs/tiny/0")
    events.Reload()
    assert set(events.Tags()["scalars"]) >= SAID


@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    import trackio.sqlite_storage as storage

    logger = "--trainer.logger=mixtura.training.TrackioLogger"
    project = ["--trainer.logger.project=toys", "--trainer.logger.run=first"]
    assert fit(logger, *project) == 0
    lines = storage.SQLiteStorage.get_logs("toys", "first")
    assert {name for line in lines for name in line} >= SAID


@pytest.mark.skipif(importlib.util.find_spec("trackio") is not None, reason="trackio is installed")
def test_without_trackio() -> None:
    with pytest.raises(InputError, match=r"mixtura-training\[trackio\]"):
        TrackioLogger()
