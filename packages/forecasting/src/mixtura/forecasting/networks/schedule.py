"""Which head predicts how much of a horizon."""

from collections.abc import Sequence

from mixtura.core.errors import InputError


def head_schedule(horizon: int, heads: Sequence[int], *, overshoot: bool = False) -> list[int]:
    """Head sizes in the order in which they are used.

    Greedy: always the largest head that fits into what is left; if none does, the smallest, to be
    cut off. With `overshoot`, what is left is covered by one larger head as soon as one is large
    enough, and cut off.

    Args:
        horizon: points to predict.
        heads: sizes of the heads.
        overshoot: allow the last step to go beyond the horizon.
    """
    if horizon < 1:
        raise InputError(f"horizon must be at least 1, got {horizon}")
    schedule, left = [], horizon
    while left > 0:
        fitting = max((head for head in heads if head <= left), default=min(heads))
        covering = [head for head in heads if head >= left]
        schedule.append(min(covering) if overshoot and covering else fitting)
        left -= schedule[-1]
    return schedule
