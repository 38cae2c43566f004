"""Packaged configurations, built without the command line."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from mixtura.core import from_config
from mixtura.core.errors import InputError
from mixtura.dynamics.data import EnvironmentsDataModule
from mixtura.dynamics.module import DynamicsModule
from mixtura.training import MoEModule
from mixtura.training.cli.trees import read_tree

__all__ = ["CONFIGS", "build", "load_module", "read"]

CONFIGS = Path(str(files("mixtura.apps.dynamics").joinpath("configs")))


def read(name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The tree of a configuration, packaged or a path, with changes merged into it.

    Raises:
        InputError: when there is no such configuration.
    """
    return read_tree(name, CONFIGS, "mixtura-dynamics", changes)


def build(tree: Mapping[str, Any], seed: int) -> tuple[DynamicsModule, EnvironmentsDataModule]:
    """Module and data of a configuration, with weights drawn from `seed`."""
    data = from_config(tree["data"])
    torch.manual_seed(seed)
    module = from_config(tree["model"])
    module.check(data.train)
    return module, data


def load_module(ckpt_path: str) -> DynamicsModule:
    """The trained module of a checkpoint."""
    module = MoEModule.load_from_checkpoint(ckpt_path)
    if not isinstance(module, DynamicsModule):
        raise InputError(
            f"{ckpt_path} holds a {type(module).__name__}, which has no environments; this "
            "subcommand is for systems trained as DynamicsModule"
        )
    module.eval()
    return module
