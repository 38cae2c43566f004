"""Which checkpoints a run keeps."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

__all__ = ["Checkpoint"]


class Checkpoint(ModelCheckpoint):
    """Keep the best checkpoint of the monitored figure and the last one.

    `last.ckpt` is the state after each epoch and after each validation within one, whether or not
    it was the best so far. Without validation data it is the only one.

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

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last state beside a new best one, and also where there was none."""
        super().on_validation_end(trainer, pl_module)
        if not self._should_save_on_train_epoch_end(trainer):
            self._keep_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last state beside a new best one, and also where there was none."""
        super().on_train_epoch_end(trainer, pl_module)
        self._keep_last(trainer)

    def _save_topk_checkpoint(self, trainer: pl.Trainer, monitor_candidates: Any) -> None:
        """Nothing is the best before the first validation, and there is no need to warn of that."""
        validated = trainer.fit_loop.epoch_loop.val_loop._has_run
        if validated or self.monitor is None or self.monitor in monitor_candidates:
            super()._save_topk_checkpoint(trainer, monitor_candidates)

    def _keep_last(self, trainer: pl.Trainer) -> None:
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
