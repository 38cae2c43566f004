"""A recipe: which models are trained and scored in which settings, and what the papers report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mixtura.core.errors import InputError
from mixtura.training.cli.names import nearest

__all__ = ["Entry", "Recipe", "Setting", "read_recipe"]

KEYS = {"title", "models", "settings", "seeds", "figures", "columns", "quick"}


@dataclass(frozen=True)
class Setting:
    """One column group of a table, such as a horizon or a data set.

    Attributes:
        name: Of the setting.
        group: Settings of one group share the training of a model that serves them all.
        options: Dotted keys of the configuration and their values.
    """

    name: str
    group: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One model of a recipe.

    Attributes:
        name: In the table.
        config: Packaged configuration or path.
        options: Dotted keys of the configuration and their values.
        once: Train once per group and seed, and score in every setting of the group.
        trained: False for a model that has nothing to train.
        paper: Published figures by setting and figure.
        paper_with: What the published figures were measured with, by the title of a column.
        per_setting: Further dotted keys by setting.
    """

    name: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)
    once: bool = False
    trained: bool = True
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    paper_with: Mapping[str, Any] = field(default_factory=dict)
    per_setting: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What `read_recipe` reads.

    Attributes:
        title: Of the table.
        models: The models.
        settings: The settings.
        seeds: How many seeds, counted from the configuration's own.
        figures: Names of the test figures, the first of which is drawn.
        columns: Further columns: their title and the dotted key of the configuration.
        quick: Options of a run for minutes, which is called quick wherever it is shown.
    """

    title: str
    models: Sequence[Entry]
    settings: Sequence[Setting]
    seeds: int
    figures: Sequence[str]
    columns: Mapping[str, str]
    quick: Mapping[str, Any]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        InputError: for a key that is unknown or missing, naming it, and for a name with a comma.
    """
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(tree, dict):
        raise InputError(f"{path} is no recipe: expected the keys {', '.join(sorted(KEYS))}")
    _only(path, "recipe", tree, KEYS)
    for key in ("models", "settings", "figures"):
        if not tree.get(key):
            raise InputError(f"the recipe {path} needs {key!r}")
    for name in (*tree["models"], *tree["settings"]):
        if "," in str(name):
            raise InputError(
                f"{path}: the name {name!r} has a comma, with which names are told apart on the "
                "command line; write it without"
            )
    return Recipe(
        title=str(tree.get("title", path.stem)),
        models=[_entry(path, str(name), value) for name, value in tree["models"].items()],
        settings=[_setting(path, str(name), value) for name, value in tree["settings"].items()],
        seeds=int(tree.get("seeds", 1)),
        figures=[str(each) for each in tree["figures"]],
        columns=dict(tree.get("columns") or {}),
        quick=dict(tree.get("quick") or {}),
    )


def _entry(path: Path, name: str, value: Any) -> Entry:
    value = {"config": value} if isinstance(value, str) else dict(value or {})
    _only(path, f"model {name}", value, {*Entry.__dataclass_fields__} - {"name"})
    if "config" not in value:
        raise InputError(f"the model {name} of {path} needs a 'config'")
    for key in ("paper", "per_setting"):
        value[key] = {str(setting): each for setting, each in (value.get(key) or {}).items()}
    return Entry(name=name, **value)


def _setting(path: Path, name: str, value: Any) -> Setting:
    value = dict(value or {})
    group = str(value.pop("group", "all"))
    return Setting(name=name, group=group, options=value)


def _only(path: Path, what: str, found: Mapping[str, Any], known: set[str]) -> None:
    for key in found:
        if key not in known:
            near = nearest(str(key), sorted(known)) or sorted(known)
            raise InputError(
                f"the {what} of {path} has the unknown key {key!r}; did you mean {', '.join(near)}?"
            )
