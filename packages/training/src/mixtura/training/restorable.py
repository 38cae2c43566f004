"""LightningModules whose checkpoints need nothing else to be loaded, and go on exactly."""

from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch

from mixtura.core import ConfigError, to_config
from mixtura.training.checkpoint import CONFIG_KEY, SCHEMA, build, load_state, read_checkpoint
from mixtura.training.random_states import random_states, restore_random_states

__all__ = ["Restorable"]

T = TypeVar("T", bound="Restorable")


class Restorable(pl.LightningModule):
    """A `@configurable` LightningModule whose checkpoints hold its configuration tree.

    The tree takes the place of Lightning's hyper-parameters, so that `load_from_checkpoint` needs
    nothing else, whether the module was built from YAML or by hand. The tree of the data and the
    states of the random generators are saved too: a run that is resumed in the middle of an epoch
    continues exactly.
    """

    def __init__(self) -> None:
        super().__init__()
        self._random: dict[str, Any] | None = None
        self._tree: Any = None

    def keep_tree(self) -> None:
        """Note the configuration tree before something changes the classes of modules."""
        self._tree = to_config(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the configuration and the states of the generators: plain values and tensors only."""
        checkpoint[CONFIG_KEY] = to_config(self) if self._tree is None else self._tree
        checkpoint["mixtura"] = {"schema": SCHEMA, "data": self._data()}
        checkpoint["random"] = random_states()

    def _data(self) -> dict[str, Any] | None:
        """The configuration tree of the data, where it has one."""
        try:
            return to_config(getattr(self._trainer, "datamodule", None))
        except ConfigError:
            return None

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the generators' states; they are restored at the first training step."""
        self._random = checkpoint.get("random")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Restore the generators at the first step of a resume: what ran before may have drawn."""
        states, self._random = self._random, None
        if states is not None:
            restore_random_states(states)

    @classmethod
    def load_from_checkpoint(
        cls: type[T], checkpoint_path: str | Path, map_location: str | torch.device = "cpu"
    ) -> T:
        """Build the module that a checkpoint describes and load its weights.

        The real class is found from the checkpoint, so the base class loads every subclass.

        Args:
            checkpoint_path: The file.
            map_location: Where the tensors go.

        Raises:
            InputError: for a file that is missing, altered, not one of ours, or of another class.
        """
        checkpoint = read_checkpoint(Path(checkpoint_path), map_location)
        module = build(checkpoint, Path(checkpoint_path), cls)
        load_state(module, checkpoint["state_dict"], Path(checkpoint_path))
        return module
