"""A process of a run that dies ends the run with an error in time; nothing waits for ever."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException
from torch.utils.data import DataLoader, Dataset

from mixtura.training import Constant, Trainer
from tests.e2e.training.toyapp.main import main
from tests.e2e.training.toyapp.model import ToyClassifier, ToyData, ToyNetwork

ONE_CORE = pytest.mark.filterwarnings("ignore:This DataLoader will create")  # torch's advice


class Deadly(Dataset):
    """Samples whose reader is killed at one of them, as by a system that is out of memory."""

    def __init__(self, inner: Dataset, at: int, how: str) -> None:
        self.inner, self.at, self.how = inner, at, how

    def __len__(self) -> int:
        return len(self.inner)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, index: int) -> Any:
        if index == self.at:
            if self.how == "raise":
                raise OSError(f"sample {index} cannot be read")
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner[index]


class DeadlyData(ToyData):
    """The toy data behind two worker processes, one of which dies."""

    how = "kill"

    def train_dataloader(self) -> DataLoader:
        data = Deadly(self.train, 40, self.how)
        return DataLoader(data, 8, shuffle=True, num_workers=2)


def fit(data: pl.LightningDataModule, **options: Any) -> None:
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **options,
    )
    trainer.fit(ToyClassifier(ToyNetwork(), schedule=Constant()), datamodule=data)


@ONE_CORE
def test_a_worker_that_is_killed() -> None:
    begin = time.monotonic()
    seen = (
        r"worker .*(killed by signal|exited unexpectedly)|reset by peer"  # by torch or the system
    )
    with pytest.raises((RuntimeError, ConnectionError, EOFError), match=seen):
        fit(DeadlyData())
    assert time.monotonic() - begin < 120  # it does not hang


@ONE_CORE
def test_the_command_line_says_what_may_be_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXTURA_RUN_FOLDER", raising=False)
    monkeypatch.setattr(ToyData, "train_dataloader", DeadlyData.train_dataloader)
    monkeypatch.setattr(ToyData, "how", "kill", raising=False)
    assert main(["fit", "--config=tiny", "--trainer.enable_progress_bar=false"]) == 1
    said = capsys.readouterr().err
    assert "num_workers" in said
    assert "Traceback" not in said


@ONE_CORE
def test_a_worker_that_fails_names_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeadlyData, "how", "raise")
    with pytest.raises(OSError, match="sample 40 cannot be read"):
        fit(DeadlyData())


class Dies(pl.Callback):
    """Ends the process of rank 1 in the middle of an epoch, and notes when."""

    def __init__(self, note: Path) -> None:
        self.note = note

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_rank == 1 and trainer.global_step == 3:
            self.note.write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


def deadly_rank(strategy: str, note: str) -> None:
    """A run on two processes that loses one."""
    fit(ToyData(), devices=2, strategy=strategy, callbacks=[Dies(Path(note))])


DEATH = "SIGKILL|Connection closed by peer|reset by peer"


def test_a_forked_rank_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with pytest.raises((ProcessExitedException, ProcessRaisedException), match=DEATH):
        deadly_rank("ddp_fork", str(note))
    assert time.time() - float(note.read_text()) < 60, "it hung"
    assert not running("ppid", os.getpid()), "a process was left behind"


@pytest.mark.slow
def test_a_started_rank_that_is_killed(repository: Path, tmp_path: Path) -> None:
    """Where Lightning starts each process as a program of its own."""
    note = tmp_path / "note"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", __name__, "ddp", str(note)],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said = process.communicate(timeout=900)[0]
    took = time.time() - float(note.read_text())
    assert process.returncode != 0
    assert re.search(DEATH, said), said
    assert took < 60, "it hung"
    assert not running("sid", process.pid), "a process was left behind"


def running(column: str, number: int) -> list[str]:
    """The processes with that number in a column of `ps`, other than `ps` itself."""
    listed = subprocess.run(["ps", "-eo", f"{column}=,stat=,args="], capture_output=True, text=True)
    rows = (line.split(None, 2) for line in listed.stdout.splitlines())
    return [
        args
        for found, state, args in rows
        if int(found) == number and state[0] != "Z" and not args.startswith("ps ")
    ]


if __name__ == "__main__":
    deadly_rank(*sys.argv[1:])
