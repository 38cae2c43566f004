"""Reading checkpoints, without Lightning: the SHA-256 is verified, no code is executed."""

import pickle
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mixtura.core import from_config
from mixtura.core.errors import InputError
from mixtura.training.whole_files import digest, sidecar

__all__ = [
    "CONFIG_KEY",
    "SCHEMA",
    "CheckpointError",
    "build",
    "load_state",
    "read_checkpoint",
    "read_verified",
    "verify",
]

T = TypeVar("T", bound=nn.Module)

CONFIG_KEY = "hyper_parameters"
SCHEMA = 1


class CheckpointError(InputError):
    """A checkpoint that cannot be used: missing, altered, unsafe, or of something else."""


def verify(path: Path) -> bool:
    """Compare a file with the SHA-256 beside it; False when there is none.

    Raises:
        CheckpointError: when they differ.
    """
    beside = sidecar(path)
    if not beside.is_file():
        return False
    try:
        expected = beside.read_text(encoding="ascii").split()
    except UnicodeDecodeError:
        expected = []
    found = digest(path)
    if found not in expected:
        raise CheckpointError(
            f"{path} was altered or cut off after it was written: its SHA-256 begins with "
            f"{found[:12]}, but {beside.name} says {(expected or ['nothing'])[0][:12]}; "
            f"use another checkpoint{_others(path)}"
        )
    return True


def _others(path: Path) -> str:
    others = sorted(p.name for p in path.parent.glob("*.ckpt") if p != path)[:3]
    return f" ({', '.join(others)} lie beside it)" if others else ""


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint: hash verified, no code executed.

    Raises:
        CheckpointError: for whatever cannot be read, saying what it is.
    """
    checkpoint = read_verified(path, map_location)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), Mapping):
        found = ", ".join(map(str, list(checkpoint)[:4])) if isinstance(checkpoint, dict) else ""
        raise CheckpointError(
            f"{path} is not a checkpoint of a training run: expected 'state_dict' among its keys, "
            f"found {found or type(checkpoint).__name__}; use one written by `fit`"
        )
    return checkpoint


def read_verified(path: Path, map_location: Any = "cpu") -> Any:
    """What a file of torch holds: hash verified, no code executed.

    Raises:
        CheckpointError: for whatever cannot be read, saying what it is.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}{_others(path)}")
    verify(path)
    try:
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        # The message of torch names the global; its advice to switch the check off is not ours.
        named = str(error).split("GLOBAL ")[1].split(" ")[0] if "GLOBAL " in str(error) else ""
        what = f"holds code ({named})" if named else "holds something else than tensors and numbers"
        raise CheckpointError(
            f"{path} {what} and was not loaded, because it could run commands on this machine; "
            "use a checkpoint written by Mixtura, or safetensors"
        ) from error
    except Exception as error:  # a damaged archive fails in torch's reader in many ways
        if _is_pickle(path):
            raise CheckpointError(
                f"{path} is a bare pickle and was not loaded, because it could run commands on "
                "this machine; use a checkpoint written by Mixtura, or safetensors"
            ) from error
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({_kind(path)}); use another one{_others(path)}"
        ) from error


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _kind(path: Path) -> str:
    size = path.stat().st_size
    if size == 0:
        return "it is empty"
    with path.open("rb") as file:
        head = file.read(2)
    if head == b"PK":
        with suppress(zipfile.BadZipFile):
            if not zipfile.is_zipfile(path):
                return f"it is cut off after {size} bytes"
        return "its archive is damaged"
    return "it is of another format"


def build(checkpoint: Mapping[str, Any], path: Path, base: type[T]) -> T:
    """The module that a checkpoint's configuration tree describes, with fresh weights.

    Raises:
        CheckpointError: when the tree is missing, cannot be built, or is of another class.
    """
    tree = checkpoint.get(CONFIG_KEY)
    if not isinstance(tree, Mapping) or "class_path" not in tree:
        raise CheckpointError(
            f"{path} does not say which model it is of (no configuration tree in it); "
            "build the model yourself and load its 'state_dict'"
        )
    try:
        module = from_config(tree)
    except Exception as error:  # what others wrote into the file reaches every constructor
        raise CheckpointError(f"{path} describes a model that cannot be built: {error}") from error
    if not isinstance(module, base):
        raise CheckpointError(
            f"{path} is a checkpoint of {type(module).__name__}, not of {base.__name__}; "
            f"load it with {type(module).__name__}.load_from_checkpoint"
        )
    return module


def load_state(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load weights strictly.

    Raises:
        CheckpointError: naming the first tensors that are missing, unexpected or of another size.
    """
    own = module.state_dict()
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    sizes = [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in state
        and isinstance(own[name], Tensor)
        and getattr(state[name], "shape", None) != own[name].shape
    ]
    problems = []
    if sizes:
        problems.append(f"{len(sizes)} tensors of another size: {'; '.join(sizes[:2])}")
    if missing:
        problems.append(f"{len(missing)} missing: {', '.join(missing[:3])}")
    if unexpected:
        problems.append(f"{len(unexpected)} unknown: {', '.join(unexpected[:3])}")
    if problems:
        raise CheckpointError(
            f"{path} does not fit {type(module).__name__}: {'. '.join(problems)}. "
            "Use the configuration it was trained with"
        )
    module.load_state_dict(state)
