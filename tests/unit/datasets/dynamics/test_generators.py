"""Generators against the published arrays, and readers of a user's own files."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mixtura.datasets.dynamics import (
    DynamicsDataError,
    Environments,
    Precision,
    chaotic,
    chaotic_series,
    load_environments,
    lotka_volterra,
    noisy_lorenz,
    read_folder,
    read_ts,
)

FOLDER = (
    Path(os.environ.get("MIXTURA_DATA") or Path(__file__).parents[5] / "shared" / "data")
    / "dynamics"
)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="set MIXTURA_DATA to the folder of data sets")
@pytest.mark.parametrize(
    "name",
    [
        "lotka_volterra",
        "selkov",
        "glycolytic",
        "odebench4",
        pytest.param("odebench10", marks=pytest.mark.slow),
    ],
)
def test_generators_give_the_published_arrays(name: str) -> None:
    for split, content in load_environments(name).splits().items():
        assert content is not None
        with np.load(FOLDER / name / f"{split}.npz") as published:
            x = published["X"].reshape(-1, *published["X"].shape[-3:])
            t = published["t"]
        assert x.shape == content.x.shape
        assert float(np.abs(x - content.x).max()) < 1e-6
        repeats = len(x) // len(t) if t.ndim == 2 else 1
        times = np.repeat(t, repeats, 0) if t.ndim == 2 else np.broadcast_to(t, content.t.shape)
        np.testing.assert_allclose(times, content.t, atol=1e-5)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="set MIXTURA_DATA to the folder of data sets")
def test_chaotic_series_begin_as_published() -> None:
    for name in ("lorenz63", "rossler"):
        with np.load(FOLDER / "chaotic3d" / f"{name}.npz") as published:
            np.testing.assert_allclose(
                chaotic_series(name, 200), published["X"][:200], rtol=1e-4, atol=1e-3
            )


def test_families_are_in_order_and_leaks_are_known() -> None:
    data = load_environments("odebench4").every(5)
    assert data.train.x.shape == (20, 4, 20, 2)
    assert data.train.family.tolist() == [f for f in range(4) for _ in range(5)]
    test = data.test.x
    np.testing.assert_array_equal(test[:, 0], data.train.x[:, 0])
    kept = test[:, data.leak_free]
    assert not (kept[:, :, None] == data.train.x[:, None]).all((-1, -2)).any()


def test_high_precision_differs_by_the_published_error() -> None:
    published, precise = lotka_volterra().train.x, lotka_volterra(Precision.high()).train.x
    difference = float(np.abs(published - precise).max())
    assert 1e-5 < difference < 5e-2


def test_noisy_lorenz_has_two_families_of_one_size() -> None:
    data = noisy_lorenz(3, 2, num_times=40)
    assert data.train.x.shape == (5, 1, 40, 10)
    assert data.train.family.tolist() == [0, 0, 0, 1, 1]


def write(folder: Path, name: str, **columns: list[float]) -> None:
    pd.DataFrame(columns).to_csv(folder / name, index=False)


def test_own_files_are_read_with_their_own_times(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", t=[0, 1, 3], x=[1, 2, 3], y=[0, 0, 0])
    write(tmp_path, "b.csv", t=[0, 2, 3], x=[1, 2, 3], y=[4, 5, 6])
    data = read_folder(tmp_path)
    assert data.train.x.shape == (2, 1, 3, 2)
    assert data.train.t.tolist() == [[0, 1, 3], [0, 2, 3]]
    assert load_environments(str(tmp_path)).train.dim == 2


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"t": [0, 1, 1], "x": [1, 2, 3]}, "time repeats at sample 2"),
        ({"t": [0, 2, 1], "x": [1, 2, 3]}, "time runs backwards at sample 2"),
        ({"t": [0], "x": [1]}, "environment 1 has a trajectory of 1 samples"),
        ({"t": [0, 1, 2], "z": [1, 2, 3]}, "state columns"),
        ({"t": [0, 1, 2], "x": [1, "a", 3]}, "b.csv: column x holds 'a'"),
        ({"t": [0, 1, 1], "x": [1, 2, 3]}, "environment 1 is b.csv"),
        ({"time": [0, 1, 2], "x": [1, 2, 3]}, "no column 't'"),
        ({"t": [0, 1, 2], "x": [1, np.nan, 3]}, "environment 1, trajectory 0 holds nan"),
        ({"t": [0, np.nan, 2], "x": [1, 2, 3]}, "b.csv: column t has no value in row 2"),
        (
            {"t": [0, 1, 2], "trajectory": [0, 0, np.nan], "x": [1, 2, 3]},
            "b.csv: column trajectory has no value in row 3",
        ),
        ({"t": [], "x": []}, "b.csv holds no row below its header"),
        ({"t": [0, 1, 2]}, "b.csv has no column of states beside t"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, second: dict, words: str) -> None:
    write(tmp_path, "a.csv", t=[0, 1, 2], x=[1, 2, 3])
    write(tmp_path, "b.csv", **second)
    with pytest.raises(DynamicsDataError, match=words):
        read_folder(tmp_path)


def test_unusable_arrays_are_named(tmp_path: Path) -> None:
    path, other = tmp_path / "train.npz", tmp_path / "other.npy"
    np.savez(path, X=np.zeros((2, 1, 3, 1)), t=np.arange(3.0))
    whole = path.read_bytes()
    np.save(other, np.zeros(3))
    for content in (b"", whole[: len(whole) // 2], other.read_bytes(), b"no archive"):
        path.write_bytes(content)
        with pytest.raises(DynamicsDataError, match=r"train\.npz is not a readable"):
            load_environments(str(path))
    np.savez(path, X=np.full((2, 1, 3, 1), "a"), t=np.arange(3.0))
    with pytest.raises(DynamicsDataError, match="X holds <U1, expected numbers"):
        load_environments(str(path))


def test_a_stride_that_leaves_one_sample_is_refused() -> None:
    whole = Environments(np.zeros((2, 1, 5, 1)), np.arange(5.0))
    assert whole.every(4).x.shape[2] == 2
    with pytest.raises(DynamicsDataError, match="two samples or more, got 1"):
        whole.every(5)


def test_a_folder_of_splits(tmp_path: Path) -> None:
    for split, count in (("train", 2), ("test", 2), ("ood_train", 1)):
        (tmp_path / split).mkdir()
        for number in range(count):
            write(tmp_path / split, f"{number}.csv", t=[0, 1, 3], x=[1, 2, number])
    data = load_environments(str(tmp_path))
    assert data.test is not None
    assert data.ood_train is not None
    assert data.ood_test is None
    assert (data.test.num_environments, data.ood_train.num_environments) == (2, 1)
    write(tmp_path / "test", "2.csv", t=[0, 1, 3], x=[1, 2, 2])
    with pytest.raises(DynamicsDataError, match="train has 2 environments, test has 3"):
        load_environments(str(tmp_path))
    for file in (tmp_path / "train").iterdir():
        file.unlink()
    (tmp_path / "train").rmdir()
    with pytest.raises(DynamicsDataError, match="but no train"):
        load_environments(str(tmp_path))


def test_a_chaotic_system_has_pieces_and_a_long_run() -> None:
    data = chaotic("rossler", pieces=10, samples=5, long=60)
    assert data.train.x.shape == (1, 10, 5, 3)
    assert data.test is not None
    assert data.long is not None
    assert data.test.x.shape == (1, 2, 5, 3)
    assert data.long.x.shape == (1, 1, 60, 3)
    assert float(data.long.t[0, 1]) == pytest.approx(0.1)


def test_an_unknown_system_gets_the_nearest_names() -> None:
    with pytest.raises(DynamicsDataError, match="odebench4"):
        load_environments("odebnch4")


def test_control_charts_come_with_the_repository(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MIXTURA_DATA", str(tmp_path))
    data = load_environments("synthetic_control")
    assert data.train.x.shape == (600, 1, 60, 1)
    assert data.train.family.tolist() == sorted([0, 1, 2, 3, 4, 5] * 100)
    np.testing.assert_allclose(data.train.x.mean(0), 0, atol=1e-5)


def test_series_of_the_archives(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    path.write_text("@classLabel true\n@data\n1,2,3:b\n4,5,6:a\n")
    series = read_ts(path)
    assert isinstance(series, Environments)
    assert series.x[:, 0, :, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert series.family.tolist() == [1, 0]
    path.write_text("@data\n1,2,3:b\n4,5:a\n")
    with pytest.raises(DynamicsDataError, match="cut them to one length"):
        read_ts(path)
