"""A process of a run that dies ends the run with an error in time; nothing waits for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Dataset

from mixtura.training import Constant, Trainer
from tests.e2e.training.toyapp.main import main
from tests.e2e.training.toyapp.model import ToyClassifier, ToyData, ToyNetwork


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


def test_a_worker_that_is_killed() -> None:
    begin = time.monotonic()
    seen = (
        r"worker .*(killed by signal|exited unexpectedly)|reset by peer"  # by torch or the system
    )
    with pytest.raises((RuntimeError, ConnectionError, EOFError), match=seen):
        fit(DeadlyData())
    assert time.monotonic() - begin < 30


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


@pytest.mark.parametrize("strategy", ["ddp_fork", pytest.param("ddp", marks=pytest.mark.slow)])
def test_a_rank_that_is_killed(strategy: str, repository: Path, tmp_path: Path) -> None:
    """Whether Lightning forks the processes or starts each as a program of its own."""
    note = tmp_path / "note"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", __name__, strategy, str(note)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=900,
    )
    took = time.time() - float(note.read_text())
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "SIGKILL" in said or "Connection closed by peer" in said or "reset by peer" in said, said
    assert took < 60, "it hung"
    assert not left(str(os.getpid())), "a process was left behind"


def left(parent: str) -> list[str]:
    """Processes of this test that still run."""
    listed = subprocess.run(["ps", "-eo", "ppid=,args="], capture_output=True, text=True).stdout
    mine = (line.split(None, 1) for line in listed.splitlines())
    return [args for number, args in mine if number == parent and __name__ in args]


if __name__ == "__main__":
    deadly_rank(*sys.argv[1:])
