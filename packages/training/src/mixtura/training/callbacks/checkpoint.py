"""Which checkpoints a run keeps."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

__all__ = ["Checkpoint"]


class Checkpoint(ModelCheckpoint):
    """Keep the best checkpoint of the monitored figure and the last one.

    Without validation data only the last is kept.

    Args:
        dirpath: Folder; the run's `checkpoints` by default.
        monitor: Figure to watch.
        mode: Whether smaller (`min`) or larger (`max`) is better.
        save_top_k: How many of the best to keep.
        every_n_train_steps: Also save the last state (`last.ckpt`) every so many
            optimiser steps.
    """

    def __init__(
        self,
        dirpath: str | Path | None = None,
        monitor: str | None = "val/loss",
        mode: str = "min",
        save_top_k: int = 1,
        every_n_train_steps: int | None = None,
    ) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best" if save_top_k == 1 else "best-{epoch}-{step}",
            monitor=monitor,
            mode=mode,
            save_top_k=save_top_k,
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=save_top_k != 1,
        )
        self.save_every = every_n_train_steps
        self._saved_at = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep only the last state when there is nothing to monitor."""
        self._saved_at = trainer.global_step
        if not trainer.num_val_batches or not any(trainer.num_val_batches):
            self.monitor, self.save_top_k = None, 0
        super().on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save the last state every so many optimiser steps."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        step = trainer.global_step
        if self.save_every and step != self._saved_at and step % self.save_every == 0:
            self._saved_at = step
            trainer.save_checkpoint(Path(str(self.dirpath)) / "last.ckpt")
