"""How many experts each layer gets, by depth."""

import math
import random
from typing import Literal, get_args

from mixtura.core.errors import InputError

__all__ = ["Schedule", "layer_capacity"]

Schedule = Literal["uniform", "descending", "ascending", "pyramid", "valley", "wave", "random"]


def layer_capacity(
    schedule: Schedule,
    layers: int,
    low: int,
    high: int,
    *,
    constant: float | None = None,
    frequency: float = 1.0,
    phase: float = 0.0,
    seed: int = 0,
    match_uniform: bool = False,
) -> list[int]:
    """Numbers for the layers, between `low` and `high`: experts, choices, or whatever grows.

    With t from 0 at the first layer to 1 at the last: `uniform` is the middle, `descending` falls
    from high to low, `ascending` rises, `pyramid` is highest and `valley` lowest in the middle,
    `wave` is a sine around the middle, `random` is drawn.

    After DynaMoE (arXiv 2603.01697), whose text names schedules without formulas.

    Args:
        schedule: name of the curve.
        layers: number of layers.
        low: smallest number.
        high: largest number.
        constant: the number of `uniform`, if not the middle.
        frequency: periods of `wave` over the depth.
        phase: of `wave`, in radians.
        seed: of `random`.
        match_uniform: scale the curve so that the sum is that of `uniform`: otherwise schedules
            cannot be compared at equal cost.
    """
    if schedule not in get_args(Schedule):
        names = ", ".join(get_args(Schedule))
        raise InputError(f"schedule must be one of {names}, got {schedule!r}")
    if layers < 1 or not 1 <= low <= high:
        raise InputError(
            f"expected layers >= 1 and 1 <= low <= high, got {layers}, {low} and {high}"
        )
    middle = (low + high) / 2 if constant is None else constant
    drawn = random.Random(seed)
    span = high - low

    def at(t: float) -> float:
        values = {
            "uniform": middle,
            "descending": high - span * t,
            "ascending": low + span * t,
            "pyramid": low + span * (1 - abs(2 * t - 1)),
            "valley": low + span * abs(2 * t - 1),
            "wave": low + span * (1 + math.sin(2 * math.pi * frequency * t + phase)) / 2,
            "random": low + span * drawn.random(),
        }
        return values[schedule]

    curve = [at(layer / (layers - 1) if layers > 1 else 0.0) for layer in range(layers)]
    if match_uniform:
        total = layers * min(max(_nearest(middle), low), high)
        return _with_total(curve, total, low, high)
    return [min(max(_nearest(value), low), high) for value in curve]


def _nearest(value: float) -> int:
    return math.floor(value + 0.5)


def _with_total(curve: list[float], total: int, low: int, high: int) -> list[int]:
    """The curve scaled, rounded down, and filled up where the remainder is largest."""
    scale = total / sum(curve)
    wanted = [min(max(value * scale, low), high) for value in curve]
    rounded = [math.floor(value) for value in wanted]
    while sum(rounded) != total:
        up = sum(rounded) < total
        movable = [i for i, n in enumerate(rounded) if (n < high if up else n > low)]
        gap = [(wanted[i] - rounded[i]) * (1 if up else -1) for i in movable]
        chosen = movable[gap.index(max(gap))]
        rounded[chosen] += 1 if up else -1
    return rounded
