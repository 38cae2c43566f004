"""What a constructor refuses, each with a sentence that names the argument and its value."""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral

from mixtura.core.errors import InputError

__all__ = ["check_groups_selected", "check_number", "check_option", "check_sizes"]


def check_sizes(**sizes: int | None) -> None:
    """Refuse sizes below one, and broken ones; one that was not given (None) is right."""
    for name, size in sizes.items():
        if size is None:
            continue
        if not isinstance(size, Integral):
            raise InputError(f"{name} must be a whole number, got {size!r}")
        if size < 1:
            raise InputError(f"{name} must be at least 1, got {size}")


def check_groups_selected(index: Sequence[int], num_experts: int, groups: int) -> None:
    """Refuse a selection of experts that moves one of them into another group.

    Args:
        index: the experts that are kept, in their new order.
        num_experts: before the selection.
        groups: of equal size, in the order of the experts.
    """
    size, rest = divmod(len(index), groups)
    old = num_experts // groups
    if rest or any(place // size != expert // old for place, expert in enumerate(index)):
        raise InputError(
            f"{num_experts} experts are in {groups} groups of equal size, and {list(index)} would "
            "not be; keep as many experts of each group as of the others, group by group"
        )


def check_number(
    name: str,
    value: float,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> None:
    """Refuse what is not finite, or outside of the bounds.

    Args:
        name: of the argument.
        value: what was given.
        least: smallest number that is right.
        above: the number must be larger.
        most: largest number that is right.
        below: the number must be smaller.
    """
    if math.isfinite(value) and least <= value <= most and above < value < below:
        return
    bounds = [f"at least {least}"] if least > -math.inf else []
    bounds += [f"above {above}"] if above > -math.inf else []
    bounds += [f"at most {most}"] if most < math.inf else []
    bounds += [f"below {below}"] if below < math.inf else []
    raise InputError(f"{name} must be {' and '.join(bounds) or 'a finite number'}, got {value}")


def check_option(name: str, value: object, options: Iterable[object]) -> None:
    """Refuse what is none of the options."""
    options = list(options)
    if value not in options:
        raise InputError(f"{name} must be one of {', '.join(map(str, options))}; got {value!r}")
