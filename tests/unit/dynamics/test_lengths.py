"""Trajectories of different lengths: what is padding changes nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mixtura.core import InputError
from mixtura.datasets.dynamics import DynamicsDataError, from_arrays, load_environments
from mixtura.dynamics import (
    ContextsDataModule,
    EnvironmentsDataModule,
    MixERReconstructor,
    Objective,
    Stage,
    Trajectories,
    WindowedTraining,
    long_term_scores,
)
from mixtura.dynamics.metrics import mape, mse, rel_l2, rel_sq_pointwise
from mixtura.dynamics.training import GEPSTraining
from mixtura.dynamics.writer import trajectory_table

from .systems import contexts_for, rotations, small_mixer, small_system

LENGTHS = torch.tensor([[12, 7, 12], [5, 4, 0]])


def ragged() -> Trajectories:
    """Two rotations; beyond a trajectory's length there is nonsense."""
    data = rotations([1.0, -1.0])
    data = Trajectories(data.x, data.t, lengths=LENGTHS)
    observed = data.observed
    assert observed is not None
    return Trajectories(data.x.where(observed[..., None], 77.0), data.t, data.x[:, :, 0], LENGTHS)


def test_files_and_trajectories_may_differ_in_length(tmp_path: Path) -> None:
    for name, samples in (("0", (6, 4)), ("1", (3,))):
        rows = [
            f"{number},{0.5 * k},{k},{-k}" for number, n in enumerate(samples) for k in range(n)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["trajectory,t,x,y", *rows]))
    train = load_environments(str(tmp_path)).train
    assert train.x.shape == (2, 2, 6, 2)
    assert train.lengths is not None
    assert train.lengths.tolist() == [[6, 4], [3, 0]]
    assert train.t[1].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert train.every(2).lengths.tolist() == [[3, 2], [2, 0]]
    assert train.trajectories([0]).lengths.tolist() == [[6], [3]]
    assert train.select([1]).lengths.tolist() == [[3, 0]]
    np.testing.assert_array_equal(train.x[1, 0, :3, 0], [0, 1, 2])
    with pytest.raises(DynamicsDataError, match="environment 1 has no trajectory of two samples"):
        train.every(3)


def table(*clocks: list[float]) -> str:
    rows = [f"{n},{t},{t},{-t}" for n, clock in enumerate(clocks) for t in clock]
    return "\n".join(["trajectory,t,x,y", *rows])


def test_trajectories_of_a_file_may_begin_at_different_times(tmp_path: Path) -> None:
    (tmp_path / "0.csv").write_text(table([0, 0.5, 1.25, 2], [7.1, 7.6, 8.35]))
    train = load_environments(str(tmp_path)).train
    assert train.t.tolist() == [[0.0, 0.5, 1.25, 2.0]]
    assert train.lengths is not None
    assert train.lengths.tolist() == [[4, 3]]
    np.testing.assert_array_equal(train.x[0, 1, :3, 0], [7.1, 7.6, 8.35])


def test_trajectories_of_a_file_with_other_steps_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0.csv").write_text(table([0, 0.5, 1, 2], [3, 3.5, 4.1]))
    told = r"trajectory 1 has other steps .* \(sample 2 comes 1.1 after the first, there 1\)"
    with pytest.raises(DynamicsDataError, match=told):
        load_environments(str(tmp_path))
    (tmp_path / "0.csv").write_text(table([0, 1, 0.5], [0, 1, 0.5]))
    with pytest.raises(DynamicsDataError, match="must strictly increase, but time runs backwards"):
        load_environments(str(tmp_path))


def test_arrays_of_one_length_have_no_lengths() -> None:
    x = [np.zeros((3, 5, 2)), np.ones((3, 5, 2))]
    assert from_arrays(x, np.arange(5)).lengths is None


@pytest.mark.parametrize(
    ("states", "times", "sentence"),
    [
        ([np.zeros((4, 2)), np.zeros((4, 3))], np.arange(4), "environment 1 has 3 state dimens"),
        ([np.zeros((4, 2)), np.zeros((3, 2))], np.arange(5), "longest trajectory has 4 samples"),
        ([np.zeros((4, 2))], [np.arange(3)], "environment 0 has 4 samples, but times of shape"),
        ([np.zeros((4, 2))], [np.arange(4)] * 2, "1 environments, but 2 rows of times"),
        ([[np.zeros((4, 2)), np.zeros((1, 2))]], np.arange(4), "a trajectory of 1 samples"),
        ([np.zeros(4)], np.arange(4), "environment 0 has shape"),
        ([], np.arange(4), "at least one environment"),
    ],
)
def test_what_does_not_fit_is_named(states, times, sentence: str) -> None:
    with pytest.raises(DynamicsDataError, match=sentence):
        from_arrays(states, times)


@pytest.mark.parametrize("error", [mse, rel_l2, rel_sq_pointwise, mape])
def test_errors_look_at_observed_samples_only(error) -> None:
    data = ragged()
    predicted = data.x + torch.randn(data.x.shape, generator=torch.Generator().manual_seed(0))
    found = error(predicted, data.x, data.observed)
    for number, lengths in enumerate(LENGTHS.tolist()):
        rows = [
            error(predicted[number, n, :k][None, None], data.x[number, n, :k][None, None])
            for n, k in enumerate(lengths)
            if k
        ]
        # rel_l2 averages trajectories; the others average samples
        weights = torch.tensor([1.0 if error is rel_l2 else k for k in lengths if k])
        expected = (torch.cat(rows) * weights).sum() / weights.sum()
        torch.testing.assert_close(found[number], expected)


def test_padding_has_no_part_in_loss_gradient_and_scale() -> None:
    data, mixer = ragged(), small_mixer()
    contexts = contexts_for(mixer, 2).requires_grad_()
    other = Trajectories(data.x.where(data.x != 77.0, -5.0), data.t, data.start, data.lengths)
    gradients = []
    for each in (data, other):
        value = Objective()(mixer, contexts, each)
        gradients.append(torch.autograd.grad(value.loss, [contexts])[0])
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
    assert bool((gradients[0] != 0).any())
    system = small_system(2)
    system.standardise(data)
    torch.testing.assert_close(system.center, data.x[data.observed].mean(0))


@pytest.mark.parametrize("regular", [True, False])
def test_windows_stay_within_the_environment(regular: bool) -> None:
    data = ragged()
    if not regular:
        data.t = data.t**2
    for seed in range(5):
        pieces = data.windows(4, 3, torch.Generator().manual_seed(seed))
        assert pieces.lengths is not None
        assert pieces.x.shape[2] == pieces.t.shape[1] == 4
        assert pieces.x.shape[1] == (12 if regular else 3)
        # the longest trajectory of an environment always fills its window
        assert (pieces.lengths[:, ::3] == 4).all()
        seen = pieces.x[pieces.observed]
        assert bool((seen != 77.0).all())
        moved = data.t.diff(dim=1)
        assert pieces.t.diff(dim=1)[0, 0] in moved[0]


@pytest.mark.parametrize(
    "recipe",
    [
        WindowedTraining(
            outer_steps=6,
            inner_steps=20,
            stages=[Stage(0.5, 4), Stage(1.0, 0)],
            split_at=0.5,
            lr=2e-2,
        ),
        GEPSTraining(outer_steps=60, lr=1e-2),
    ],
)
def test_recipes_learn_from_them(recipe) -> None:
    system, data = small_system(2), ragged()
    reports = recipe.run(system, data, torch.Generator().manual_seed(0))
    assert reports[-1].loss < 0.3 * reports[0].loss
    assert not any(report.failures for report in reports)


def test_random_parts_of_them_are_refused() -> None:
    with pytest.raises(InputError, match="trajectories of one length, these have 0 to 12"):
        ragged().sub_intervals(0.6)


def test_what_needs_one_length_says_so(tmp_path: Path) -> None:
    for name, samples in (("0", 6), ("1", 4)):
        rows = [f"{k},{k}" for k in range(samples)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["t,x", *rows]))
    with pytest.raises(InputError, match=r"of one length, those of .* have 4 to 6"):
        ContextsDataModule(str(tmp_path), 2, 2, 2).parts()
    long = load_environments(str(tmp_path)).train
    with pytest.raises(InputError, match="long runs must all have the same length"):
        long_term_scores(small_system(2), long)
    (tmp_path / "1.csv").write_text("trajectory,t,x\n0,0,0\n0,1,1\n1,0,0\n1,1,1")
    (tmp_path / "0.csv").write_text("trajectory,t,x\n0,0,0\n0,1,1")
    with pytest.raises(InputError, match="set val_trajectories to 0"):
        _ = EnvironmentsDataModule(str(tmp_path), val_trajectories=1).data


def test_tables_leave_padding_out() -> None:
    data = ragged()
    table = trajectory_table(data.t, data.shown, data.x, torch.zeros(2, dtype=torch.long))
    assert len(table) == int(LENGTHS.sum())
    assert not (table == 77.0).any().any()


def test_the_reconstructor_takes_lists() -> None:
    data = ragged()
    states = [
        [data.x[number, n, :k].numpy() for n, k in enumerate(lengths) if k]
        for number, lengths in enumerate(LENGTHS.tolist())
    ]
    times = [data.t[0].numpy(), data.t[1, :5].numpy()]
    model = MixERReconstructor(1, width=8, outer_steps=1, progress=False).fit(states, times)
    adapted = model.adapt(states[1:], times[1:])
    assert bool(adapted.support_losses.isfinite().all())
    assert model.simulate(np.zeros((1, 2)), times[0], env=1).shape == (1, 12, 2)
