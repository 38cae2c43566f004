"""A shared model is a folder: `config.json`, `model.safetensors`, `README.md`. Never a pickle.

`config.json` is the configuration tree of the model with three keys more: `mixtura_version`,
`schema`, and `weights`, which names the file of the weights and its SHA-256.
"""

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import nn

from mixtura.core import from_config, to_config
from mixtura.core.errors import InputError
from mixtura.training.checkpoint import load_state
from mixtura.training.whole_files import digest, write_whole

__all__ = ["CARD", "CONFIG", "SCHEMA", "WEIGHTS", "SharingError", "load_folder", "save_folder"]

T = TypeVar("T", bound=nn.Module)

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
SCHEMA = 1
KEYS = {"class_path", "init_args", "mixtura_version", "schema", "weights"}
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


class SharingError(InputError):
    """A shared model that cannot be written or used."""


def save_folder(
    model: nn.Module, folder: Path, card: str, pictures: Mapping[str, bytes] | None = None
) -> Path:
    """Write the folder, each file whole or not at all; the weights first, what names them last.

    Args:
        model: What is shared.
        folder: Made if it is not there.
        card: Text of the model card.
        pictures: Files that the card shows, by name.

    Raises:
        SharingError: when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / WEIGHTS, lambda path: save_model(model, str(path)), beside=False)
        config = {
            **to_config(model),
            "mixtura_version": _version(),
            "schema": SCHEMA,
            "weights": {"file": WEIGHTS, "sha256": digest(folder / WEIGHTS)},
        }
        text = json.dumps(config, indent=2) + "\n"
        for name, content in (pictures or {}).items():
            write_whole(folder / name, lambda path, c=content: path.write_bytes(c), beside=False)
        write_whole(folder / CARD, lambda path: path.write_text(card, "utf-8"), beside=False)
        write_whole(folder / CONFIG, lambda path: path.write_text(text, "utf-8"), beside=False)
    except OSError as error:
        raise SharingError(
            f"cannot write the model to {folder}: {error.strerror}; choose another folder"
        ) from error
    return folder


def _version() -> str:
    try:
        return version("mixtura-core")
    except PackageNotFoundError:
        return "unknown"


def load_folder(folder: Path, expected: type[T]) -> T:
    """Build the model of a folder and load its weights, everything checked.

    Args:
        folder: With `config.json` and `model.safetensors`.
        expected: Class that the model must be an instance of.

    Raises:
        SharingError: when something is missing, altered, unknown, or of another class or size.
    """
    config = read_config(folder)
    tree = {key: config[key] for key in ("class_path", "init_args") if key in config}
    try:
        model = from_config(tree)
    except Exception as error:  # what others wrote into the file reaches every constructor
        made = config.get("mixtura_version", "an unknown version")
        raise SharingError(
            f"{folder / CONFIG} (written by Mixtura {made}) describes a model that this version "
            f"({_version()}) cannot build: {error}"
        ) from error
    if not isinstance(model, expected):
        raise SharingError(
            f"{folder} holds a {type(model).__name__}, not a {expected.__name__}; "
            f"load it with {type(model).__name__}.from_pretrained"
        )
    load_state(model, _weights(folder, config, model), folder / WEIGHTS)
    model.eval()
    return model


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json`, its keys checked.

    Raises:
        SharingError: when it is missing, no JSON, or has keys that we do not know.
    """
    path = folder / CONFIG
    if not path.is_file():
        found = sorted(each.name for each in folder.iterdir())[:5] if folder.is_dir() else []
        raise SharingError(
            f"{folder} is no shared model: expected {CONFIG} and {WEIGHTS}, "
            f"found {', '.join(found) or 'nothing'}"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SharingError(f"{path} is not valid JSON ({error}); get the folder again") from error
    if not isinstance(config, dict) or not isinstance(config.get("class_path"), str):
        raise SharingError(f"{path} does not say which model it describes (no 'class_path')")
    unknown = sorted(set(config) - KEYS)
    if unknown:
        raise SharingError(
            f"{path} has the unknown key {unknown[0]!r}; the keys are {', '.join(sorted(KEYS))}"
        )
    if config.get("schema", SCHEMA) != SCHEMA:
        raise SharingError(
            f"{path} has schema {config['schema']}, this version reads {SCHEMA}; update mixtura"
        )
    return config


def _weights(folder: Path, config: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    path = folder / WEIGHTS
    if not path.is_file():
        pickles = sorted(each.name for pattern in PICKLES for each in folder.glob(pattern))
        instead = (
            f"; {pickles[0]} is not read, because a pickle can run commands on this machine"
            if pickles
            else ""
        )
        raise SharingError(f"{folder} has no {WEIGHTS}{instead}")
    weights = config.get("weights") or {}
    told = weights.get("sha256") if isinstance(weights, Mapping) else None
    found = digest(path)
    if told is not None and told != found:
        raise SharingError(
            f"{path} was altered or cut off: its SHA-256 begins with {found[:12]}, {CONFIG} says "
            f"{str(told)[:12]}; get the folder again"
        )
    try:
        state: dict[str, Any] = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise SharingError(f"cannot read {path}: {error}; get the folder again") from error
    return _with_tied(state, model)


def _with_tied(state: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """Add the second names of tensors that modules of the model share; they are stored once."""
    groups: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    for names in groups.values():
        stored = next((name for name in names if name in state), None)
        if stored is not None:
            for name in names:
                state.setdefault(name, state[stored])
    return state
