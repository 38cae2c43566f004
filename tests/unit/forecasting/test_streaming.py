"""Thousands of series go through a predictor batch by batch."""

import resource
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from mixtura.forecasting import TimeMoE

START = pd.Period("2024-01-01 00:00", freq="h")


def test_memory_does_not_grow_with_the_number_of_series() -> None:
    network = TimeMoE(dim=8, hidden_dim=8, num_layers=1, num_heads=2, num_experts=2, horizons=[1])
    predictor = network.create_predictor(1, 32, batch_size=50)
    taken = 0

    def entries() -> Iterator[dict[str, Any]]:
        nonlocal taken
        generator = np.random.default_rng(0)
        for taken in range(1, 4001):
            yield {"target": generator.normal(size=2000), "start": START, "item_id": str(taken)}

    peaks, count = [], 0
    for count, forecast in enumerate(predictor.predict(entries()), 1):
        assert taken <= count + 50, "series are not taken ahead of their batch"
        assert forecast.start_date == START + 2000
        if count in (500, 4000):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert count == 4000
    assert peaks[1] - peaks[0] < 16 * 1024, "kilobytes; the series themselves are 56 MB"
