"""Windows of a series: every start, stride one, as a view."""

import numpy as np
from jaxtyping import Shaped

from mixtura.core.errors import InputError

__all__ = ["check_window", "sliding_windows", "window_count"]


def check_window(look_back: int, horizon: int) -> None:
    """Refuse windows without a past or without a future.

    Raises:
        InputError: naming the value.
    """
    for name, value in (("look_back", look_back), ("horizon", horizon)):
        if value < 1:
            raise InputError(f"{name} must be at least 1 step, got {value}")


def window_count(rows: int, look_back: int, horizon: int) -> int:
    """Number of windows of `look_back + horizon` rows with stride 1; 0 when none fits."""
    return max(rows - look_back - horizon + 1, 0)


def sliding_windows(
    rows: Shaped[np.ndarray, "rows variates"], length: int
) -> Shaped[np.ndarray, "windows {length} variates"]:
    """All windows of `length` rows; a read-only view, so it costs no memory.

    Raises:
        InputError: when the rows are fewer than `length`.
    """
    if len(rows) < length:
        raise InputError(
            f"a window needs {length} rows, the series has {len(rows)}; use a shorter look-back "
            "or horizon, or more data"
        )
    return np.lib.stride_tricks.sliding_window_view(rows, length, axis=0).swapaxes(1, 2)
