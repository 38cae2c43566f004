from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixtura.datasets import (
    FractionSplit,
    StandardScaler,
    fill_from_past,
    sliding_windows,
    window_count,
)
from mixtura.datasets.loading.order import evaluation_batches, permutation, training_batches

sizes = st.integers(1, 60)


@given(rows=st.integers(0, 80), look_back=sizes, horizon=sizes)
def test_the_count_is_that_of_a_loop(rows: int, look_back: int, horizon: int) -> None:
    starts = [i for i in range(rows) if i + look_back + horizon <= rows]
    assert window_count(rows, look_back, horizon) == len(starts)
    if starts:
        series = np.arange(rows)[:, None]
        windows = sliding_windows(series, look_back + horizon)
        assert windows[:, 0, 0].tolist() == starts
        assert windows[-1, -1, 0] == rows - 1


@given(
    rows=st.integers(10, 500),
    look_back=sizes,
    train=st.floats(0.1, 0.7),
    test=st.floats(0.05, 0.3),
)
def test_targets_of_two_parts_never_overlap(
    rows: int, look_back: int, train: float, test: float
) -> None:
    borders = FractionSplit(train=train, test=test).borders(rows, look_back)
    assert borders.train.start == 0
    assert borders.test.stop == rows
    for before, after in pairwise(borders):
        assert after.start == max(before.stop - look_back, 0)
        assert after.stop >= before.stop


@given(windows=st.integers(1, 200), batch_size=sizes, ranks=st.integers(1, 5))
def test_evaluation_sees_every_window_once(windows: int, batch_size: int, ranks: int) -> None:
    shares = [evaluation_batches(windows, batch_size, rank, ranks) for rank in range(ranks)]
    seen = np.concatenate([batch for share in shares for batch in share])
    assert sorted(seen) == list(range(windows))
    assert all(0 < len(batch) <= batch_size for share in shares for batch in share)
    if batch_size > 1 and windows >= 2 * ranks:
        assert len({len(share) for share in shares}) == 1


@given(
    windows=st.integers(1, 200),
    batch_size=sizes,
    ranks=st.integers(1, 5),
    epoch=st.integers(0, 9),
    seed=st.integers(0, 9),
)
def test_ranks_together_take_the_steps_of_one(
    windows: int, batch_size: int, ranks: int, epoch: int, seed: int
) -> None:
    order = permutation(windows, seed, epoch)
    assert sorted(order) == list(range(windows))
    alone = training_batches(order, batch_size * ranks, 0, 1)
    shares = [training_batches(order, batch_size, rank, ranks) for rank in range(ranks)]
    for step, whole in enumerate(alone):
        parts = [share[step] for share in shares]
        assert len({len(part) for part in parts}) == 1
        assert set(np.concatenate(parts)) == set(whole)


@given(data=st.data(), windows=st.integers(1, 100), step=st.integers(1, 20))
def test_an_epoch_can_be_entered_at_any_step(data, windows: int, step: int) -> None:
    order = permutation(windows, 0, 0)
    whole = training_batches(order, step, 0, 1)
    done = data.draw(st.integers(0, len(whole)))
    rest = training_batches(order[done * step :], step, 0, 1)
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[done:]]


@given(values=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2), min_size=1))
def test_scaling_is_undone(values: list[list[float]]) -> None:
    rows = np.array(values)
    scaler = StandardScaler.fit(rows)
    assert (scaler.scale > 0).all()
    np.testing.assert_allclose(scaler.inverse(scaler.transform(rows)), rows, atol=1e-6)


@given(data=st.data(), rows=st.integers(1, 30))
def test_filling_looks_only_back(data, rows: int) -> None:
    missing = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))[:, None]
    values = np.arange(rows, dtype=float)[:, None]
    filled = fill_from_past(values, missing)[:, 0]
    proper = np.flatnonzero(~missing)
    for row in range(rows):
        before = proper[proper <= row]
        if len(before):
            assert filled[row] == before[-1]
        elif len(proper):
            assert filled[row] == proper[0]
