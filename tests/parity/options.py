"""A fixture's configuration, which remembers what was read of it."""

from collections.abc import Iterator, Mapping
from typing import Any


class UnknownOption(ValueError):
    """An option that the check does not know, or a value of it that it cannot follow."""


class Options(Mapping[str, Any]):
    """`config.json` of a fixture. Reading a key marks it as understood; `unread()` lists the rest.

    Keys that begin with an underscore describe the fixture, not the system: they need no reading.
    """

    def __init__(self, values: Mapping[str, Any], prefix: str = "") -> None:
        self._values = dict(values)
        self._prefix = prefix
        self._read: set[str] = set()
        self._children: dict[str, Options] = {}

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        self._read.add(key)
        if isinstance(value, Mapping):
            return self._children.setdefault(key, Options(value, f"{self._prefix}{key}."))
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def only(self, key: str, *allowed: Any) -> None:
        """Read `key` where it is present, and refuse any value that is not in `allowed`.

        Raises:
            UnknownOption: for another value.
        """
        if key in self and self[key] not in allowed:
            raise UnknownOption(
                f"{self._prefix}{key} = {self[key]!r} is not a value this check follows "
                f"({', '.join(map(repr, allowed))})"
            )

    def plain(self) -> dict[str, Any]:
        """Everything as plain values, all marked as read."""
        self._read.update(self._values)
        for key in self._children:
            self._children[key].plain()
        return {key: value for key, value in self._values.items() if not key.startswith("_")}

    def unread(self) -> list[str]:
        """Dotted names of the options that nobody read."""
        names = [
            self._prefix + key
            for key in self._values
            if key not in self._read and not key.startswith("_")
        ]
        for child in self._children.values():
            names += child.unread()
        return names
