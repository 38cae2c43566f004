"""One progress bar over several stages of work."""

import sys
import time
from types import TracebackType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["StageProgress", "Stages"]


class Stages:
    """A bar in a terminal, a line now and then where the output is a file or a pipe.

    Args:
        total: work of all stages, in units of the caller's choice.
        seconds: between two lines in a file.
    """

    def __init__(self, total: float, seconds: float = 15.0) -> None:
        self.total, self.seconds = total, seconds
        self.done, self.name = 0.0, ""
        self._said = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description:<28}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )

    def __enter__(self) -> "Stages":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.name, total=self.total)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            if error is None:
                self._bar.update(self._task, completed=self.total, description="done")
            self._bar.stop()

    def say(self, name: str) -> None:
        """Begin a stage."""
        self.name = name
        if self._bar is None:
            self._line()
        else:
            self._bar.update(self._task, description=name)

    def advance(self, amount: float) -> None:
        """Some work of the stage is done."""
        self.done += amount
        if self._bar is not None:
            self._bar.advance(self._task, amount)
        elif time.monotonic() - self._said > self.seconds:
            self._line()

    def _line(self) -> None:
        self._said = time.monotonic()
        share = min(1.0, self.done / self.total) if self.total else 1.0
        sys.stderr.write(f"{share:4.0%}  {self.name}\n")
        sys.stderr.flush()


class StageProgress(Callback):
    """Advances a stage by every training and validation batch.

    Args:
        stages: the bar.
        train_work: of a training batch.
        val_work: of a validation batch.
    """

    def __init__(self, stages: Stages, train_work: float, val_work: float) -> None:
        self.stages, self.train_work, self.val_work = stages, train_work, val_work

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """A training batch is done."""
        self.stages.advance(self.train_work)

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """A validation batch is done."""
        if not trainer.sanity_checking:
            self.stages.advance(self.val_work)
