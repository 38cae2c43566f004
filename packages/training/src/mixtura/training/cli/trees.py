"""Configurations read without the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mixtura.core.errors import InputError
from mixtura.training.cli.mistakes import Mistake
from mixtura.training.cli.names import find

__all__ = ["read_tree"]


def read_tree(
    name: str, folder: Path, program: str, changes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The tree of a configuration, with changes merged into it and references resolved.

    Args:
        name: Of a packaged configuration, or a path.
        folder: Where the app's packaged ones are.
        program: The app's console script, for the message.
        changes: A tree of values that replace those of the file.

    Raises:
        InputError: when there is no such configuration.
    """
    try:
        path = find(name, folder, "configuration", program)
    except Mistake as mistake:
        raise InputError(mistake.wrong) from mistake
    tree = OmegaConf.merge(OmegaConf.load(path), OmegaConf.create(dict(changes or {})))
    return OmegaConf.to_container(tree, resolve=True)  # pyright: ignore[reportReturnType]
