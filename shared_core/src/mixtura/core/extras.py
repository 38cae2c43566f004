"""What to install where a name needs more than is there."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["brought_by"]


@contextmanager
def brought_by(requirement: str, name: str) -> Iterator[None]:
    """While open, the sentence about a module that is not installed says what brings it.

    Args:
        requirement: What to install, such as `mixtura-training[train]`.
        name: The public name that is imported.

    Raises:
        ModuleNotFoundError: the same, in that sentence; one of Mixtura's own as it was.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        if top in ("", "mixtura"):
            raise
        raise ModuleNotFoundError(
            f"{name} needs {top}, which is not installed; pip install '{requirement}'",
            name=error.name,
            path=error.path,
        ) from error
