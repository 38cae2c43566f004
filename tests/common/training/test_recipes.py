"""Every recipe of the shared benchmark names configurations, settings and papers that are there."""

import importlib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from mixtura.training.benchmark import read_recipe
from mixtura.training.cli import App, names


def apps() -> dict[str, App]:
    """The apps by the name of their console script."""
    found = {}
    for script in entry_points(group="console_scripts"):
        if script.name.startswith("mixtura-"):
            app = getattr(importlib.import_module(script.module), "APP", None)
            if isinstance(app, App):
                found[script.name] = app
    return found


SHARED = "mixtura.training.benchmark:run_recipe"
SHARED = "mixtura.training.benchmark:run_recipe"
APPS = apps()
RECIPES = [
    pytest.param(app, name, path, id=f"{program}:{name}")
    for program, app in APPS.items()
    if app.functions()["benchmark"].function == SHARED
    for name, path in names.available(app.folder("recipes")).items()
]


def test_there_are_recipes() -> None:
    assert "mixtura-forecasting" in APPS
    assert RECIPES


@pytest.mark.parametrize(("app", "name", "path"), RECIPES)
def test_recipe(app: App, name: str, path: Path) -> None:
    recipe = read_recipe(path)
    known = names.available(app.folder("configs"))
    settings = {setting.name for setting in recipe.settings}
    for entry in recipe.models:
        assert entry.config in known, f"{name} wants the configuration {entry.config}"
        assert set(entry.paper) <= settings, f"{entry.name} reports for settings that are not there"
        assert set(entry.per_setting) <= settings
