"""The pages about the core say what the components say, and every configuration on them works."""

import importlib.util
import re
import types

import pytest
import yaml

import mixtura.core as core
from mixtura.core import from_config, to_config

from .blocks import blocks


def generator() -> types.ModuleType:
    """The script that writes the pages."""
    from tests.conftest import REPOSITORY

    spec = importlib.util.spec_from_file_location(
        "generate_core", REPOSITORY / "docs" / "generate_core.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = generator()
AGAIN = "run `python docs/generate_core.py` and commit what it writes"


@pytest.mark.parametrize("family", GENERATOR.FAMILIES)
def test_page_is_up_to_date(family: str) -> None:
    assert (GENERATOR.PAGES / f"{family}.md").read_text() == GENERATOR.page(family), AGAIN


def test_the_page_on_dispatch_is_up_to_date() -> None:
    found = (GENERATOR.PAGES / "dispatch.md").read_text()
    assert found == GENERATOR.dispatch_page(), AGAIN


def configurations() -> list:
    return [
        pytest.param(block.text, id=f"{family}-{number}")
        for family in GENERATOR.FAMILIES
        for number, block in enumerate(blocks(GENERATOR.PAGES / f"{family}.md"))
        if block.language == "yaml"
    ]


@pytest.mark.parametrize("text", configurations())
def test_every_configuration_builds(text: str) -> None:
    config = yaml.safe_load(text)
    assert to_config(from_config(config)) == config


def test_the_table_names_every_component_with_a_test_that_does() -> None:
    rows = dict(
        re.findall(
            r"^\| \[`(\w+)`\].*\| \[[\w.]+\]\(\.\./([\w/.]+)\) \|$",
            GENERATOR.README.read_text(),
            re.M,
        )
    )
    listed = {
        item.__name__
        for kind, _, _ in GENERATOR.FAMILIES.values()
        for item in GENERATOR.members(kind)
    }
    assert listed == set(rows), AGAIN
    for name, path in rows.items():
        text = (GENERATOR.ROOT / path).read_text()
        assert name in text or path == "tests/common/core/test_common.py", AGAIN


def test_every_component_says_what_it_is() -> None:
    for kind, _, _ in GENERATOR.FAMILIES.values():
        for item in GENERATOR.members(kind):
            assert item.__doc__, item
            assert getattr(core, item.__name__) is item
