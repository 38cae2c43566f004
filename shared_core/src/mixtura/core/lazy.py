"""Properties that are computed at most once."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["lazy"]

T = TypeVar("T")


class lazy(Generic[T]):
    """`functools.cached_property` without the lock that it holds before Python 3.12.

    torch.compile cannot trace the lock.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | Self:
        """The value, computed at the first use and an ordinary attribute from then on."""
        if instance is None:
            return self
        value = self.compute(instance)
        setattr(instance, self.name, value)
        return value
