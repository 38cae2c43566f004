"""Let a model that was loaded compete with what training makes of it."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

__all__ = ["ValidateFirst"]


class ValidateFirst(Callback):
    """Validate before the first step, so that the best checkpoint may be the model as it came.

    Fine-tuning a pretrained model often makes it worse; with this its best checkpoint is never
    worse on the validation data than what was loaded.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Run the validation loop once, where there is one and nothing was trained yet."""
        if trainer.global_step or not trainer.num_val_batches or not any(trainer.num_val_batches):
            return
        connector: Any = trainer._logger_connector
        first = connector._first_loop_iter
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.run()
        trainer.training = True
        connector._first_loop_iter = first
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
                callback._save_topk_checkpoint(trainer, callback._monitor_candidates(trainer))
