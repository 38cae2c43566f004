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


def test_the_front_page_shows_the_demo_as_it_was_measured() -> None:
    measured = cells((APP / "results" / "demo" / "table.md").read_text())
    columns = measured.pop("")
    columns = [columns.index(name) for name in ("InD MSE", "OoD MSE", "purity", "scalars", "CPU s")]
    shown = cells((REPOSITORY / "README.md").read_text())
    assert len(measured) == 3
    for name, row in measured.items():
        expected = [row[column] for column in columns]
        assert [cell.replace(",", "") for cell in shown[name.split("**")[1]]] == expected


def cells(page: str) -> dict[str, list[str]]:
    """The rows of a page's tables, by their first cell."""
    rows = (line.strip("|").split("|") for line in page.splitlines() if line.startswith("| "))
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in rows}
