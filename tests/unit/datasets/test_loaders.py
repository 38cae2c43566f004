import numpy as np
import pytest
import torch

from mixtura.datasets import (
    EvaluationLoader,
    InputError,
    Rows,
    StandardScaler,
    TrainingLoader,
    WindowSource,
    seasonal_series,
)
from mixtura.datasets.ltsf.calendar import calendar_features

NO_COVARIATES = StandardScaler.identity(0)


def source(windows: int = 10, look_back: int = 4, horizon: int = 2, **options) -> WindowSource:
    table = seasonal_series(rows=windows + look_back + horizon + 2, variates=3)
    rows = Rows(3, 3 + windows + look_back + horizon - 1)
    scaler = StandardScaler.fit(table.values[:8])
    return WindowSource(table, rows, look_back, horizon, scaler, NO_COVARIATES, **options)


def seen(loader: TrainingLoader | EvaluationLoader) -> list[int]:
    return [int(i) for batch in loader for i in batch.index]


def test_a_batch_holds_the_rows_of_the_table() -> None:
    table = seasonal_series(rows=18, variates=3)
    windows = source()
    batch = windows[torch.tensor([0, 9])]
    scaler = StandardScaler.fit(table.values[:8])
    rows = scaler.transform(table.values)
    assert len(windows) == 10
    assert batch.index.tolist() == [3, 12]
    assert batch.past.shape == (2, 4, 3)
    assert batch.future.shape == (2, 2, 3)
    np.testing.assert_allclose(batch.past[1], rows[12:16], rtol=1e-6)
    np.testing.assert_allclose(batch.future[1], rows[16:18], rtol=1e-6)
    marks = calendar_features(table.stamps, "h")
    np.testing.assert_allclose(batch.past_marks[0], marks[3:7], rtol=1e-6)
    np.testing.assert_allclose(batch.future_marks[0], marks[7:9], rtol=1e-6)
    assert batch.past_covariates.shape == (2, 4, 0)
    assert batch.future_covariates.shape == (2, 2, 0)


def test_covariates_are_where_they_are_known() -> None:
    from dataclasses import replace

    column = np.arange(12.0)[:, None]
    table = replace(
        seasonal_series(rows=12, variates=1), past_covariates=column, known_covariates=-column
    )
    two = StandardScaler.identity(2)
    windows = WindowSource(table, Rows(0, 12), 3, 2, StandardScaler.identity(1), two)
    batch = windows[torch.tensor([4])]
    np.testing.assert_array_equal(batch.past_covariates[0], [[4, -4], [5, -5], [6, -6]])
    np.testing.assert_array_equal(batch.future_covariates[0], [[-7], [-8]])


def test_stride_and_limit() -> None:
    # Starts 0, 3, 6, 9 of ten.
    assert len(source(stride=3)) == 4
    assert source(stride=3)[torch.tensor([1])].index.tolist() == [6]
    assert len(source(windows=10, look_back=4, horizon=2)) == 10
    table = seasonal_series(rows=20, variates=1)
    one = StandardScaler.identity(1)
    assert len(WindowSource(table, Rows(0, 20), 4, 2, one, NO_COVARIATES, windows=14)) == 14


def test_no_window_fits() -> None:
    with pytest.raises(InputError, match=r"has 5 rows, too few for one window .* = 6 rows"):
        source(windows=0)
    with pytest.raises(InputError, match="horizon must be at least 1 step, got 0"):
        source(horizon=0)
    with pytest.raises(InputError, match="stride must be at least 1 row, got 0"):
        source(stride=0)
    with pytest.raises(InputError, match="batch_size must be at least 1 window, got 0"):
        TrainingLoader(source(), 0)


def test_evaluation_is_in_order_and_whole() -> None:
    loader = EvaluationLoader(source(), 4)
    assert len(loader) == 3
    assert [len(batch.index) for batch in loader] == [4, 4, 2]
    assert seen(loader) == list(range(3, 13))


def test_training_is_shuffled_anew_and_repeatable() -> None:
    loader, again = TrainingLoader(source(), 4, seed=1), TrainingLoader(source(), 4, seed=1)
    first, second = seen(loader), seen(loader)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(3, 13))
    assert [seen(again), seen(again)] == [first, second]
    assert seen(TrainingLoader(source(), 4, seed=2)) != first


def test_iterating_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    seen(TrainingLoader(source(), 4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_a_loader_continues_where_it_was(taken: int) -> None:
    whole = TrainingLoader(source(), 4)
    expected = [seen(whole) for _ in range(3)]
    stopped = TrainingLoader(source(), 4)
    seen(stopped)
    batches = iter(stopped)
    head = [int(i) for _ in range(taken) for i in next(batches).index]
    resumed = TrainingLoader(source(), 4)
    resumed.load_state_dict(stopped.state_dict())
    if 0 < taken < 3:
        assert head + seen(resumed) == expected[1]
        assert seen(resumed) == expected[2]
    else:
        assert seen(resumed) == expected[2 if taken else 1]


def test_a_half_done_epoch_needs_the_same_data_and_step() -> None:
    loader = TrainingLoader(source(), 4)
    next(iter(loader))
    state = loader.state_dict()
    with pytest.raises(InputError, match="with 10 training windows, this run has 11"):
        TrainingLoader(source(windows=11), 4).load_state_dict(state)
    with pytest.raises(InputError, match="with 4 windows per step, this run has 5"):
        TrainingLoader(source(), 5).load_state_dict(state)
    with pytest.raises(InputError, match="with 0 seed, this run has 3"):
        TrainingLoader(source(), 4, seed=3).load_state_dict(state)
    seen(loader)
    TrainingLoader(source(windows=11), 5).load_state_dict(loader.state_dict())


def test_processes_change_nothing() -> None:
    plain = [batch for batch in TrainingLoader(source(), 4)]
    worked = [batch for batch in TrainingLoader(source(), 4, num_workers=2)]
    for one, other in zip(plain, worked, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
