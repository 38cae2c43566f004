"""Properties that are computed at most once."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

__all__ = ["lazy"]


class lazy:
    """`functools.cached_property` without the lock that it holds before Python 3.12.

    torch.compile cannot trace the lock.

    Args:
        compute: the method that computes the value.
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object | None, owner: type) -> Any:
        """The value, computed at the first use and an ordinary attribute from then on."""
        if instance is None:
            return self
        value = self.compute(instance)
        setattr(instance, self.name, value)
        return value

    if TYPE_CHECKING:  # at run time there is none, so that the value hides this object

        def __set__(self, instance: object, value: Any) -> None: ...
