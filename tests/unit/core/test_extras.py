"""Who asks for a name that needs more than is installed reads what to install."""

import pytest

from mixtura.core.extras import brought_by


def test_an_absent_module_is_named_with_what_brings_it() -> None:
    told = r"Trainer needs nowhere, which is not installed; pip install 'mixtura-x\[train\]'"
    with (
        pytest.raises(ModuleNotFoundError, match=told) as caught,
        brought_by("mixtura-x[train]", "Trainer"),
    ):
        import nowhere.part  # noqa: F401
    assert caught.value.name == "nowhere"


def test_an_absent_module_of_our_own_is_our_mistake() -> None:
    with (
        pytest.raises(ModuleNotFoundError, match=r"^No module named 'mixtura\.nowhere'$"),
        brought_by("mixtura-x[train]", "Trainer"),
    ):
        import mixtura.nowhere  # noqa: F401
