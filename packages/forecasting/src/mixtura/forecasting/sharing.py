"""A shared model is a folder: config.json, model.safetensors, README.md. Never a pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mixtura.core import from_config, to_config
from mixtura.core.errors import InputError
from mixtura.training.checkpoint import load_state, write_whole

__all__ = ["Shared"]

T = TypeVar("T", bound="Shared")

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


class Shared:
    """Saves a configurable module as a folder, and builds it again from one."""

    def save_pretrained(self, folder: str | Path, card: str = "") -> Path:
        """Write the folder; each file whole or not at all.

        Args:
            folder: made if it is not there.
            card: text of the model card.

        Raises:
            InputError: when the folder cannot be written.
        """
        folder = Path(folder)
        module: Any = self
        state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        try:
            write_whole(folder / WEIGHTS, lambda path: save_file(state, path, {"format": "pt"}))
            config = json.dumps(to_config(self), indent=1) + "\n"
            write_whole(folder / CONFIG, lambda path: path.write_text(config))
            write_whole(folder / CARD, lambda path: path.write_text(card))
        except OSError as error:
            raise InputError(
                f"cannot write the model to {folder}: {error.strerror}; choose another folder"
            ) from error
        return folder

    @classmethod
    def from_pretrained(cls: type[T], folder: str | Path) -> T:
        """Build the model that a folder, or a repository of the model hub, describes.

        Raises:
            InputError: when files are missing or damaged, or describe something else.
        """
        place = Path(folder)
        if not place.is_dir():
            place = _download(str(folder))
        tree = _tree(place / CONFIG)
        module = from_config(tree)
        if not isinstance(module, cls) and issubclass(cls, type(module)):
            own = to_config(module)
            module = from_config({**own, "class_path": f"{cls.__module__}.{cls.__name__}"})
        if not isinstance(module, cls):
            raise InputError(
                f"{place} holds a {type(module).__name__}, not a {cls.__name__}; "
                f"load it with {type(module).__name__}.from_pretrained"
            )
        try:
            state = load_file(place / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"cannot read {place / WEIGHTS}: {error}; get the folder again"
            ) from error
        load_state(module, state, place / WEIGHTS)
        module.eval()
        return module


def _tree(path: Path) -> Mapping[str, Any]:
    try:
        tree = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path.parent} is no shared model: cannot read {path.name}") from error
    if not isinstance(tree, Mapping) or "class_path" not in tree:
        raise InputError(f"{path} does not say which model it describes (no class_path)")
    return tree


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=[CONFIG, WEIGHTS, CARD]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{repository!r} is neither a folder here nor a repository that can be reached; "
            "correct the path, or check the name and the network"
        ) from error
