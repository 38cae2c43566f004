"""The tables that the dynamics app's page shows are those that were measured."""

import pytest

from tests.unit.house.distributions import REPOSITORY

APP = REPOSITORY / "apps" / "dynamics"
TABLES = sorted(APP.glob("results/*/table.md"))


@pytest.mark.parametrize("table", TABLES, ids=[table.parent.name for table in TABLES])
def test_the_page_shows_what_was_measured(table) -> None:
    page = (APP / "README.md").read_text()
    rows = [line for line in table.read_text().splitlines() if line.startswith("|")]
    assert len(rows) > 2
    for row in rows:
        assert row in page
