"""Levels of quantiles: what may be asked for."""

import math
from collections.abc import Sequence

from mixtura.core.errors import InputError

__all__ = ["check_levels", "interpolation"]


def check_levels(levels: Sequence[float]) -> list[float]:
    """The levels in increasing order.

    Raises:
        InputError: when there is none, one is not inside (0, 1), or one repeats.
    """
    if not levels:
        raise InputError("give at least one quantile level, such as 0.1")
    for level in levels:
        if not (isinstance(level, int | float) and math.isfinite(level) and 0 < level < 1):
            raise InputError(
                f"a quantile level lies between 0 and 1, got {level!r}; write 10 percent as 0.1"
            )
    ordered = sorted(float(level) for level in levels)
    if len(set(ordered)) < len(ordered):
        raise InputError(f"every quantile level may occur once, got {list(levels)}")
    return ordered


def interpolation(known: Sequence[float], level: float, source: str) -> tuple[int, int, float]:
    """The known levels on both sides, and the share of the upper one.

    Raises:
        InputError: for a level outside the known ones; there is no honest extrapolation.
    """
    for number, at in enumerate(known):
        if math.isclose(at, level, abs_tol=1e-9):
            return number, number, 0.0
    if not known[0] < level < known[-1]:
        raise InputError(
            f"{source} knows quantiles from {known[0]:g} to {known[-1]:g}, got {level:g}; ask for "
            "one between them"
        )
    upper = next(number for number, at in enumerate(known) if at > level)
    lower = upper - 1
    return lower, upper, (level - known[lower]) / (known[upper] - known[lower])
