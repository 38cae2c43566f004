"""What the completion of every app offers is there."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from mixtura.training.cli import App
from mixtura.training.cli.completion import OPTIMISATION, SHELLS, options, script
from mixtura.training.cli.lightning import locate
from mixtura.training.testing import apps

APPS = pytest.mark.parametrize("app", apps(), ids=lambda app: app.name)


def below(cls: Any) -> Iterator[str]:
    """Names of the subclasses that are imported, the class among them."""
    yield cls.__name__
    for each in cls.__subclasses__():
        yield from below(each)


@APPS
def test_classes_have_the_short_names(app: App) -> None:
    for module in app.registry:
        import_module(module)
    known = {*below(locate(app.module)), *below(locate("torch.nn:Module"))}
    known |= {*below(locate(app.data))}
    known |= {*below(locate("mixtura.training.optimisation:Optimizer"))}
    known |= {*below(locate("mixtura.training.optimisation:Schedule"))}
    for listed in (*app.classes.values(), *OPTIMISATION.values()):
        assert set(listed) <= known


@APPS
def test_options_are_those_of_the_functions(app: App) -> None:
    for verb in app.functions().values():
        function = locate(verb.function)
        code = (
            function.__wrapped__.__code__ if hasattr(function, "__wrapped__") else function.__code__
        )
        count = code.co_argcount + code.co_kwonlyargcount
        expected = [f"--{name}" for name in code.co_varnames[:count] if name != "app"]
        assert list(options(verb.function)) == expected


@APPS
@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_are_small(app: App, shell: str) -> None:
    text = script(app, shell)
    assert all(verb in text for verb in app.summaries())
    assert len(text) < 50_000
