"""Capacity by depth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixtura.core import InputError, layer_capacity

SIX = {
    "uniform": [5, 5, 5, 5, 5, 5],
    "descending": [8, 7, 6, 4, 3, 2],
    "ascending": [2, 3, 4, 6, 7, 8],
    "pyramid": [2, 4, 7, 7, 4, 2],
    "valley": [8, 6, 3, 3, 6, 8],
    "wave": [5, 8, 7, 3, 2, 5],
}


@pytest.mark.parametrize("schedule", SIX)
def test_six_layers_between_two_and_eight(schedule: str) -> None:
    assert layer_capacity(schedule, 6, 2, 8) == SIX[schedule]


@given(
    schedule=st.sampled_from([*SIX, "random"]),
    layers=st.integers(1, 12),
    low=st.integers(1, 5),
    span=st.integers(0, 9),
)
def test_bounds_and_equal_totals(schedule: str, layers: int, low: int, span: int) -> None:
    plain = layer_capacity(schedule, layers, low, low + span)
    matched = layer_capacity(schedule, layers, low, low + span, match_uniform=True)
    assert len(plain) == len(matched) == layers
    assert all(low <= n <= low + span for n in (*plain, *matched))
    uniform = layer_capacity("uniform", layers, low, low + span)
    assert abs(sum(matched) - sum(uniform)) <= 1


def test_wrong_bounds() -> None:
    with pytest.raises(InputError, match="layers >= 1"):
        layer_capacity("uniform", 0, 1, 2)
    with pytest.raises(InputError, match="low <= high"):
        layer_capacity("uniform", 3, 4, 2)
