"""Which head predicts how much of a horizon."""

from collections.abc import Sequence

from mixtura.core.errors import InputError


def head_schedule(horizon: int, heads: Sequence[int], *, overshoot: bool = False) -> list[int]:
    """Head sizes in the order in which they are used.

    Greedy: always the largest head that fits into what is left. With `overshoot`, what is left is
    covered by one larger head as soon as one is large enough, and cut off.

    Args:
        horizon: points to predict.
        heads: sizes of the heads; the smallest must be 1.
        overshoot: allow the last step to go beyond the horizon.
    """
    if horizon < 1:
        raise InputError(f"horizon must be at least 1, got {horizon}")
    if min(heads) != 1:
        raise InputError(f"the smallest head must be 1, got {sorted(heads)}")
    schedule, left = [], horizon
    while left > 0:
        fitting = max(head for head in heads if head <= left)
        covering = [head for head in heads if head >= left]
        schedule.append(min(covering) if overshoot and covering else fitting)
        left -= schedule[-1]
    return schedule
