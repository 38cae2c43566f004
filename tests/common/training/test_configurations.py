"""Every packaged configuration and recipe of every installed app."""

import importlib
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

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


APPS = apps()
CONFIGURATIONS = [
    pytest.param(app, name, id=f"{program}:{name}")
    for program, app in APPS.items()
    for name in names.available(app.folder("configs"))
]
RECIPES = [
    pytest.param(app, name, path, id=f"{program}:{name}")
    for program, app in APPS.items()
    for name, path in names.available(app.folder("recipes")).items()
]


def tree_of(app: App, name: str) -> dict[str, Any]:
    """A configuration as plain values."""
    path = names.available(app.folder("configs"))[name]
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(tree, dict)
    return tree


def test_there_are_apps() -> None:
    assert "mixtura-forecasting" in APPS
    assert CONFIGURATIONS


@pytest.mark.parametrize(("app", "name"), CONFIGURATIONS)
def test_configuration(app: App, name: str) -> None:
    path = names.available(app.folder("configs"))[name]
    assert names.describe(path), f"{name} does not begin with a comment that says what it is"
    for word in ("/home/", "/tmp/", "/root/", "/mnt/"):
        assert word not in path.read_text(), f"{name} names a path of one machine"
    tree = tree_of(app, name)
    if {"model", "data"} <= set(tree):
        assert "seed_everything" in tree


@pytest.mark.parametrize(("app", "name"), CONFIGURATIONS)
def test_parses_and_prints_itself(
    app: App, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--print_config` of a configuration, parsed again, is the same."""
    from mixtura.training.cli import run_app

    if not {"model", "data"} <= set(tree_of(app, name)):
        pytest.skip("an override, not a configuration by itself")
    assert run_app(app, ["fit", "--config", name, "--print_config"]) == 0
    printed = capsys.readouterr().out
    path = tmp_path / "printed.yaml"
    path.write_text(printed)
    assert run_app(app, ["fit", "--config", str(path), "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(printed)


@pytest.mark.slow
@pytest.mark.parametrize(("app", "name"), CONFIGURATIONS)
def test_trains_two_steps(app: App, name: str, tmp_path: Path, repository: Path) -> None:
    if not {"model", "data"} <= set(tree_of(app, name)):
        pytest.skip("an override, not a configuration by itself")
    data = os.environ.get("MIXTURA_DATA") or str(repository.parent / "shared" / "data")
    script = f"from {app.package}.main import main; raise SystemExit(main())"
    flags = ["--trainer.fast_dev_run=2", "--trainer.accelerator=cpu"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, "fit", "--config", name, *flags],
        cwd=tmp_path,
        env={**os.environ, "MIXTURA_DATA": data},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(("app", "name", "path"), RECIPES)
def test_recipe(app: App, name: str, path: Path) -> None:
    recipe = read_recipe(path)
    known = names.available(app.folder("configs"))
    for entry in recipe.models:
        assert entry.config in known, f"{name} wants the configuration {entry.config}"
        settings = {setting.name for setting in recipe.settings}
        assert set(entry.paper) <= settings, f"{entry.name} reports for settings that are not there"
        assert set(entry.per_setting) <= settings
