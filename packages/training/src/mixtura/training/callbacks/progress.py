"""A progress bar that looks well in a terminal and stays quiet in a file."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.callbacks.progress.progress_bar import ProgressBar as _Base

__all__ = ["ProgressBar"]


def ProgressBar() -> _Base:
    """Rich's bar in a terminal; a line every so often where the output is a file or a pipe."""
    return RichProgressBar(leave=True) if sys.stderr.isatty() else LineProgress()


class LineProgress(_Base):
    """One line of text at most every `seconds` seconds.

    Args:
        seconds: Time between two lines.
    """

    def __init__(self, seconds: float = 20.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._last = time.monotonic()
        self._enabled = True

    @property
    def is_enabled(self) -> bool:
        """Whether lines are written; `LightningModule.print` asks."""
        return self._enabled

    def disable(self) -> None:
        """Be quiet (Lightning calls this on every rank but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Speak again."""
        self._enabled = True

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Maybe write a line."""
        if not self._enabled or time.monotonic() - self._last < self.seconds:
            return
        self._last = time.monotonic()
        figures = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.get_metrics(trainer, pl_module).items()
            if name != "v_num"
        )
        sys.stderr.write(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs or '?'}, batch {batch_idx + 1}/"
            f"{self.total_train_batches}: {figures}\n"
        )
