"""SIGTERM and Ctrl-C finish the step, save, and end the run with the status that says so."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

__all__ = ["GracefulStop", "Stopped"]


class Stopped(SystemExit):
    """A run that a signal ended after its state was saved; the code is 128 plus its number."""

    def __init__(self, number: int, path: Path | None) -> None:
        super().__init__(128 + number)
        self.number = number
        self.path = path

    def __str__(self) -> str:
        said = f"stopped by {signal.Signals(self.number).name}"
        if self.path is None:
            return f"{said}, nothing was saved"
        return (
            f"{said}, saved to {self.path}; resume by the same command with --ckpt_path behind it"
        )


class GracefulStop(Callback):
    """Finish the optimiser step that is under way, save `checkpoints/interrupted.ckpt`, and stop.

    A second signal ends the process at once.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the handlers (in the main thread only: Python allows no other)."""
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            self._restore()
            raise Stopped(number, None)
        self.received = number

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save and stop if a signal came to any rank."""
        number = self.received
        if trainer.world_size > 1:
            anywhere = trainer.strategy.reduce_boolean_decision(number is not None, all=False)
            number = (number or signal.SIGTERM) if anywhere else None
        if number is None:
            return
        path = self._path(trainer)
        if path is not None:
            trainer.save_checkpoint(path)
        self._restore()
        raise Stopped(number, path)

    @staticmethod
    def _path(trainer: pl.Trainer) -> Path | None:
        callback = trainer.checkpoint_callback
        if callback is None:
            return None
        folder = getattr(callback, "dirpath", None) or trainer.default_root_dir
        return Path(folder) / "interrupted.ckpt"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
