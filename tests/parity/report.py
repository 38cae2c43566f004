"""The comparison of one fixture: a line for every expected value."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .fixture import Fixture, as_tensor
from .tolerance import EXACT, Tolerance


@dataclass(frozen=True)
class Line:
    """What came out for one expected value, or one reason why the fixture fails."""

    passed: bool
    name: str
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.name:<48} {self.text}"


@dataclass
class Report:
    """Collects comparisons of `fixture`; `finish` adds what was left out.

    `tolerance` holds where a comparison names none.
    """

    fixture: Fixture
    tolerance: Tolerance = field(default_factory=Tolerance)
    lines: list[Line] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it agreed."""
        return bool(self.lines) and all(line.passed for line in self.lines)

    def compare(
        self,
        name: str,
        actual: Any,
        tolerance: Tolerance | None = None,
        where: Tensor | None = None,
    ) -> None:
        """Compare `actual` with the expected value `name`, of it the elements `where` (bool)."""
        self.seen.add(name)
        if name not in self.fixture.expected:
            self.fail(name, "the check computes it, but the fixture does not hold it")
            return
        expected = self.fixture.expected[name]
        if isinstance(expected, str | bool) or expected is None or _has_text(expected):
            equal = expected == actual
            self._add(equal, name, "equal" if equal else f"expected {expected!r}, got {actual!r}")
            return
        tolerance = tolerance or self.tolerance
        actual, expected = as_tensor(actual).cpu(), as_tensor(expected)
        if actual.shape != expected.shape:
            self.fail(name, f"expected shape {tuple(expected.shape)}, got {tuple(actual.shape)}")
            return
        if where is not None:
            actual, expected = actual[where], expected[where]
        error, ratio = tolerance.excess(actual, expected)
        self._add(ratio <= 1, name, f"error {error:.2e}  tolerance {tolerance}")

    def exact(self, name: str, actual: Any, where: Tensor | None = None) -> None:
        """Compare without tolerance: chosen experts, counts, borders."""
        self.compare(name, actual, EXACT, where)

    def names(self, prefix: str) -> list[str]:
        """Expected values that begin with `prefix`, in order."""
        return sorted(name for name in self.fixture.expected if name.startswith(prefix))

    def fail(self, name: str, reason: str) -> None:
        """Record a reason for failure under `name`."""
        self._add(False, name, reason)

    def finish(self) -> None:
        """An expected value that was not compared, or an option not read, is a failure."""
        for name in self.fixture.expected:
            if name not in self.seen:
                self.fail(name, "not compared")
        for name in self.fixture.options.unread():
            self.fail(f"option {name}", "unknown option")
        if not self.lines:
            self.fail(self.fixture.name, "nothing to compare")

    def _add(self, passed: bool, name: str, text: str) -> None:
        self.lines.append(Line(passed, name, text))


def _has_text(value: Any) -> bool:
    return (
        isinstance(value, Iterable)
        and not isinstance(value, Tensor)
        and any(isinstance(item, str) for item in value)
    )
