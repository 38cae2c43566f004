"""Training runs in forked processes, so that killing one costs no import."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from mixtura.training import AdamW, Checkpoint, Trainer, WarmupCosine
from tests.e2e.training.toyapp.model import ToyClassifier, ToyData, ToyNetwork


class LossLog(pl.Callback):
    """Append each step's loss, to the last bit, to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"{trainer.global_step} {float(outputs['loss']).hex()}\n")


def curve(path: Path) -> dict[int, str]:
    """Step to loss; a later line of the same step must say the same."""
    found: dict[int, str] = {}
    for line in path.read_text().splitlines():
        if line.count(" ") != 1 or not line.endswith(tuple("0123456789")):
            continue  # the line that the kill cut off
        step, value = line.split()
        found[int(step)] = value
    return found


def fit(
    folder: Path,
    log: Path,
    *,
    resume: Path | None = None,
    max_epochs: int = 3,
    num_samples: int = 96,
    accumulate: int = 1,
    save_every: int = 1,
    num_workers: int = 0,
    callbacks: list[pl.Callback] | None = None,
    nan_at: int | None = None,
    mode: str = "min",
    **options: Any,
) -> pl.Trainer:
    """Train the toy classifier with dropout and a shuffled loader."""
    pl.seed_everything(7, verbose=False)
    module = ToyClassifier(ToyNetwork(dropout=0.3), AdamW(lr=0.01), WarmupCosine(0.2))
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(folder),
        accumulate_grad_batches=accumulate,
        callbacks=[
            LossLog(log),
            Checkpoint(folder / "checkpoints", mode=mode, every_n_train_steps=save_every),
            *(callbacks or []),
        ],
        **options,
    )
    data = ToyData(num_samples=num_samples, num_workers=num_workers, nan_at=nan_at)
    trainer.fit(module, datamodule=data, ckpt_path=str(resume) if resume else None)
    return trainer


def forked(work: Callable[[], Any]) -> int:
    """Run `work` in a fork of this process and return its process number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        torch.set_num_threads(1)
        work()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(pid: int) -> int:
    """The exit status of a forked run; negative is the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
