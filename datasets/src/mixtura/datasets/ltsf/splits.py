"""Which rows train, validate and test: the borders of the long-term forecasting protocol."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from mixtura.core.errors import InputError

__all__ = ["Borders", "FixedSplit", "FractionSplit", "Rows", "Split"]


class Rows(NamedTuple):
    """Rows `start` (included) to `stop` (excluded)."""

    start: int
    stop: int

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.stop - self.start


class Borders(NamedTuple):
    """The rows of each part; `val` and `test` reach `look_back` rows into the part before them."""

    train: Rows
    val: Rows
    test: Rows


@runtime_checkable
class Split(Protocol):
    """A rule that cuts a table into three parts."""

    def borders(self, rows: int, look_back: int) -> Borders:
        """The parts of a table of `rows` rows for windows that look back `look_back` rows."""
        ...


@dataclass(frozen=True, kw_only=True)
class FixedSplit:
    """Parts of fixed length; rows after them are not used (the ETT sets: 12 / 4 / 4 months)."""

    train: int
    val: int
    test: int

    def borders(self, rows: int, look_back: int) -> Borders:
        """See `Split`.

        Raises:
            InputError: when the table is shorter than the three parts.
        """
        val = self.train + self.val
        test = val + self.test
        if rows < test:
            raise InputError(
                f"the fixed split needs {test} rows ({self.train} / {self.val} / {self.test}), "
                f"found {rows}; use the whole file or a split by fractions"
            )
        return overlapping(self.train, val, test, look_back)


@dataclass(frozen=True, kw_only=True)
class FractionSplit:
    """`int(train * rows)` rows train, the last `int(test * rows)` test, those between validate."""

    train: float = 0.7
    test: float = 0.2

    def __post_init__(self) -> None:
        if not (0 < self.train < 1 and 0 <= self.test < 1 and self.train + self.test <= 1):
            raise InputError(
                "the fractions of a split must be positive and add up to at most 1, got "
                f"train {self.train} and test {self.test}; 0.7 and 0.2 are usual"
            )

    def borders(self, rows: int, look_back: int) -> Borders:
        """See `Split`."""
        train = int(rows * self.train)
        return overlapping(train, rows - int(rows * self.test), rows, look_back)


def overlapping(train: int, val: int, test: int, look_back: int) -> Borders:
    """Borders from the three ends; a part reaches back for history, never before row 0."""
    return Borders(
        Rows(0, train), Rows(max(train - look_back, 0), val), Rows(max(val - look_back, 0), test)
    )
