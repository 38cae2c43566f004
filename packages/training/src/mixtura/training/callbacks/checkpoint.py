"""Which checkpoints a run keeps."""

from pathlib import Path

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
        every_n_train_steps: Also save the last state every so many optimiser steps.
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
        self._saved_at = -1

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Fall back to the last state when there is nothing to monitor."""
        if stage == "fit" and not trainer.fit_loop.epoch_loop._should_check_val_epoch():
            pass
        super().setup(trainer, pl_module, stage)
