import pytest

from tests.e2e.training.toyapp.allowed import allow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow(items)
