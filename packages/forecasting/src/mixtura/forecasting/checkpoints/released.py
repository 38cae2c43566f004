"""A folder as a model was released: config.json and model.safetensors."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mixtura.core.errors import InputError

__all__ = ["read_released"]


def read_released(
    folder: Path, name: str, arguments: Callable[[dict[str, Any]], dict[str, Any]]
) -> tuple[dict[str, Any], Mapping[str, Tensor]]:
    """Our constructor's arguments, and the tensors under their released names.

    Args:
        folder: as it was downloaded.
        name: of the model, for errors.
        arguments: makes the arguments of a config.json.

    Raises:
        InputError: when a file is missing, cannot be read, or lacks a setting.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        state = load_file(folder / "model.safetensors")
    except OSError as error:
        raise InputError(
            f"{folder} holds no released {name}: expected config.json and model.safetensors "
            f"({error.strerror or error})"
        ) from error
    except (ValueError, SafetensorError) as error:
        raise InputError(
            f"a file of {folder} is damaged ({error}); download config.json and model.safetensors "
            "again"
        ) from error
    if not isinstance(config, dict):
        raise InputError(f"{folder / 'config.json'} holds no settings; download it again")
    try:
        return arguments(config), state
    except KeyError as error:
        raise InputError(
            f"{folder / 'config.json'} lacks the setting {error}, so it is not that of a {name}"
        ) from error
