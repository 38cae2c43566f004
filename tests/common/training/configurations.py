"""Every packaged configuration of every installed app, and what is done with it."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import yaml
from pytorch_lightning import seed_everything

from mixtura.training import MoEModule
from mixtura.training.cli import App
from mixtura.training.cli.lightning import MixturaCLI, quiet
from mixtura.training.cli.names import available
from mixtura.training.testing import apps
from tests.common.training.tiny import CHEAPER, GIVEN


@dataclass(frozen=True)
class Packaged:
    """One packaged configuration."""

    app: App
    name: str
    path: Path

    @property
    def id(self) -> str:
        """Such as `forecasting:segmoe/etth1-96`."""
        return f"{self.app.name}:{self.name}"

    def matching(self, table: Mapping[str, Any]) -> Any:
        """The entry of the first pattern that fits; None if there is none."""
        return next((value for key, value in table.items() if fnmatch(self.id, key)), None)

    @property
    def tree(self) -> dict[str, Any]:
        """The file."""
        return yaml.safe_load(self.path.read_text(encoding="utf-8"))

    def printed(self, path: Path, *options: str) -> str:
        """What `fit --config PATH --print_config` prints."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as stop:
            parser(self.app).parse_args(["fit", f"--config={path}", *options, "--print_config"])
        assert stop.value.code == 0
        return out.getvalue()

    def built(self, folder: Path) -> tuple[MoEModule, pl.LightningDataModule]:
        """Model and data, made to run in seconds."""
        arguments = ["fit", f"--config={self.path}", *self.tiny(folder)]
        seed_everything(self.tree["seed_everything"], verbose=False)
        options = parser(self.app).instantiate(parser(self.app).parse_args(arguments))["fit"]
        return options["model"], options["data"]

    def tiny(self, folder: Path) -> list[str]:
        """Options that make it run in seconds."""
        options = {
            f"--{'.'.join(keys)}={CHEAPER[keys[-1]]}"
            for keys in leaves(yaml.safe_load(self.printed(self.path)))
            if keys[-1] in CHEAPER and keys[0] in ("model", "data")
        }
        given = self.matching(GIVEN) or {}
        return [*sorted(options), *(f"--{key}={make(folder)}" for key, make in given.items())]


def leaves(tree: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys of every plain value."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*keys, key))
    elif not isinstance(tree, list):
        yield keys


def values(tree: Any) -> Iterator[Any]:
    """Every plain value."""
    if isinstance(tree, dict | list):
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from values(value)
    else:
        yield tree


class ParserOnly(MixturaCLI):
    """The command line up to the parsed configuration."""

    def instantiate_classes(self) -> None:
        """Nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing."""


@cache
def parser(app: App) -> Any:
    """The parser of `fit`, built once."""
    quiet()
    for module in app.registry:
        import_module(module)
    first = next(iter(available(app.folder("configs")).values()))
    return ParserOnly(app, ["fit", f"--config={first}"]).parser


def packaged() -> list[Packaged]:
    """All of them; what holds no model or no data is an override of others, and left out."""
    every = [
        Packaged(app, name, path)
        for app in apps()
        for name, path in available(app.folder("configs")).items()
    ]
    return [each for each in every if {"model", "data"} <= set(each.tree)]
