"""Lightning's way to checkpoint files: written whole or not at all, verified on load."""

import functools
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from torch import Tensor

from mixtura.training.checkpoint import CheckpointError, read_checkpoint, read_verified
from mixtura.training.whole_files import sidecar, write_whole

__all__ = ["VerifiedCheckpointIO"]


class VerifiedCheckpointIO(CheckpointIO):
    """Lightning's way to files, with `write_whole` to write and `read_checkpoint` to read."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            CheckpointError: when the folder is read-only or the disk full; the old file stays.
        """
        path = Path(path)
        try:
            write_whole(path, functools.partial(_save, checkpoint))
        except (OSError, RuntimeError) as error:
            cause = _operating_system_error(error)
            if cause is None:
                raise
            reason = cause.strerror or "the disk may be full"
            kept = "; the checkpoint of before is untouched" if path.exists() else ""
            raise CheckpointError(
                f"cannot write the checkpoint {path}: {reason}{kept}; make room or choose another "
                "folder with --trainer.default_root_dir"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; pickled code is refused whatever `weights_only` says."""
        path = Path(path)
        content = read_verified(path, map_location or "cpu")
        # Processes hand plain weights back to the one that started them.
        if isinstance(content, dict) and content and _are_weights(content):
            return content
        return read_checkpoint(path, map_location or "cpu")

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint and the hash beside it."""
        path = Path(path)
        path.unlink(missing_ok=True)
        sidecar(path).unlink(missing_ok=True)


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(checkpoint, file)


def _operating_system_error(error: BaseException | None) -> OSError | None:
    """The file system's error behind `error`; torch reports a failed write in its own words."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _are_weights(content: dict[Any, Any]) -> bool:
    return all(isinstance(value, Tensor) for value in content.values())
