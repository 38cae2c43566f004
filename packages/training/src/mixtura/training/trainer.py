"""Lightning's Trainer with checkpoints that are verified, exact resume, and a clean stop."""

from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning.callbacks import Callback
from torch.utils.data import DataLoader

from mixtura.core.errors import InputError
from mixtura.training.callbacks import GracefulStop, RoutingMonitor
from mixtura.training.checkpoint_io import VerifiedCheckpointIO
from mixtura.training.loading import resumable

__all__ = ["Trainer"]

EMPTY = (
    "the training data has no batch; check the data set and the split, and that the batch size is "
    "not larger than the data where drop_last leaves out a batch that is not full"
)


class Trainer(pl.Trainer):
    """A `pytorch_lightning.Trainer` with what every run here has.

    Checkpoints are written whole and verified when read; training loaders resume in mid-epoch;
    SIGTERM and Ctrl-C finish the step and save; routing is monitored; empty data is an error.

    Args:
        callbacks: Further callbacks; a `RoutingMonitor` or `GracefulStop` among them replaces ours.
        plugins: Further plugins; a `CheckpointIO` among them replaces ours.
        **kwargs: Those of `pytorch_lightning.Trainer`.
    """

    overfit_batches: int | float

    def __init__(
        self,
        *,
        callbacks: list[Callback] | Callback | None = None,
        plugins: Any = None,
        **kwargs: Any,
    ) -> None:
        callbacks = _listed(callbacks)
        plugins = _listed(plugins)
        for own in (RoutingMonitor, GracefulStop):
            if not any(isinstance(callback, own) for callback in callbacks):
                callbacks.append(own())
        callbacks.append(_LoaderPosition())
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            plugins.append(VerifiedCheckpointIO())
        super().__init__(callbacks=callbacks, plugins=plugins, **kwargs)

    def fit(
        self,
        model: pl.LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: pl.LightningDataModule | None = None,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train the model: checkpoints, logs and the configuration go to a new run folder.

        Args:
            model: Model to fit.
            train_dataloaders: Loader of training batches, when there is no data module.
            val_dataloaders: Loader of validation batches, when there is no data module.
            datamodule: The data.
            ckpt_path: Checkpoint to resume from, where it was saved; `last` takes the newest.
            weights_only: Left to Lightning; checkpoints are always read without executing code.
        """
        if train_dataloaders is not None:
            train_dataloaders = self._prepared(train_dataloaders)
        else:
            source: Any = datamodule if datamodule is not None else model
            original = source.train_dataloader
            if not hasattr(original, "resumable"):

                def train_dataloader() -> Any:
                    try:
                        return self._prepared(original())
                    except ValueError as error:
                        if "num_samples should be a positive" not in str(error):
                            raise
                        raise InputError(EMPTY) from error  # torch's sampler over no data

                train_dataloader.resumable = True  # pyright: ignore[reportFunctionMemberAccess]
                source.train_dataloader = train_dataloader
        super().fit(
            model,
            train_dataloaders,
            val_dataloaders,
            datamodule=datamodule,
            ckpt_path=ckpt_path,
            weights_only=weights_only,
        )

    def _prepared(self, loaders: Any) -> Any:
        if isinstance(loaders, dict):
            return {name: self._prepared(loader) for name, loader in loaders.items()}
        if isinstance(loaders, list | tuple) and loaders and isinstance(loaders[0], DataLoader):
            return type(loaders)(self._prepared(loader) for loader in loaders)
        if hasattr(loaders, "__len__") and len(loaders) == 0:
            raise InputError(EMPTY)
        if self.overfit_batches:
            return loaders
        share: dict[str, Any] = {}
        if self.world_size > 1:
            share = self.distributed_sampler_kwargs or {}
        return resumable(loaders, share.get("num_replicas", 1), share.get("rank", 0))


class _LoaderPosition(Callback):
    """Hand the loader its position in a resumed run.

    Lightning leaves it lying in two cases: a schedule that asks for the number of steps has the
    loader set up before the checkpoint's loops are restored, and a checkpoint of the end of an
    epoch does not count as a restart.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loop = trainer.fit_loop
        if loop._combined_loader_states_to_load and loop._combined_loader is not None:
            loop._combined_loader._load_state_dicts(loop._combined_loader_states_to_load)
            loop._combined_loader_states_to_load = []


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, Iterable) else [value]
