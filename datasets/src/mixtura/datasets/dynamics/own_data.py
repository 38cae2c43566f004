"""A user's own environments: one CSV file each, or arrays."""

import re
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from mixtura.datasets.dynamics.environments import DynamicsData, DynamicsDataError, Environments

__all__ = ["from_arrays", "read_arrays", "read_folder"]


def from_arrays(
    states: Sequence[np.ndarray | Sequence[np.ndarray]],
    times: Sequence[np.ndarray] | np.ndarray,
) -> Environments:
    """One array (trajectories, times, dims) or (times, dims) per environment.

    An environment may also be a list of arrays (times, dims), its trajectories. Environments may
    differ in their trajectories, and trajectories in their length; each holds the first samples of
    its environment's times.

    Args:
        states: of each environment, all of the same dimensions.
        times: shared (times), or one row per environment; they need not be equidistant.

    Raises:
        DynamicsDataError: for environments that differ in dimensions, or that have other times than
            samples (which one, and how).
    """
    all_series = [trajectories_of(number, x) for number, x in enumerate(states)]
    if not all_series:
        raise DynamicsDataError("at least one environment is needed, got none")
    dims = all_series[0][0].shape[1]
    for number, series in enumerate(all_series):
        for one in series:
            if one.shape[1] != dims:
                raise DynamicsDataError(
                    f"environment {number} has {one.shape[1]} state dimensions, environment 0 has "
                    f"{dims}; give the same variables, in the same order, to all"
                )
    samples = max(len(one) for series in all_series for one in series)
    most = max(len(series) for series in all_series)
    clocks = clocks_of(times, [max(len(one) for one in series) for series in all_series])
    x = np.empty((len(all_series), most, samples, dims))
    lengths = np.zeros((len(all_series), most), dtype=np.int64)
    for number, series in enumerate(all_series):
        for place in range(most):
            one = series[place] if place < len(series) else series[0]
            x[number, place] = np.pad(one, ((0, samples - len(one)), (0, 0)), mode="edge")
        lengths[number, : len(series)] = [len(one) for one in series]
    return Environments(x, np.stack([extended(t, samples) for t in clocks]), lengths=lengths)


def trajectories_of(number: int, given: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """The trajectories (times, dims) of environment `number`."""
    many = isinstance(given, np.ndarray) and given.ndim == 3
    several = isinstance(given, list | tuple) and np.ndim(given[0]) == 2 if len(given) else False
    series = [np.asarray(x, np.float64) for x in (given if many or several else [given])]
    if not series or any(x.ndim != 2 for x in series):
        raise DynamicsDataError(
            f"environment {number} has shape {np.shape(series[0]) if series else ()}; expected "
            "(trajectories, times, dims), (times, dims), or a list of the latter"
        )
    if min(len(x) for x in series) < 2:
        raise DynamicsDataError(
            f"environment {number} has a trajectory of {min(len(x) for x in series)} samples; give "
            "two or more, or leave it out"
        )
    return series


def clocks_of(times: Sequence[np.ndarray] | np.ndarray, samples: Sequence[int]) -> list[np.ndarray]:
    """The times of each environment, as many as the samples of its longest trajectory."""
    if np.ndim(times[0]) == 0:
        shared = np.asarray(times, np.float64)
        if len(shared) != max(samples):
            raise DynamicsDataError(
                f"the longest trajectory has {max(samples)} samples, the shared times are "
                f"{len(shared)}; give one time per sample"
            )
        return [shared[:count] for count in samples]
    if len(times) != len(samples):
        raise DynamicsDataError(
            f"there are {len(samples)} environments, but {len(times)} rows of times; give one "
            "row per environment, or times that all share"
        )
    clocks = [np.asarray(row, np.float64) for row in times]
    for number, (row, count) in enumerate(zip(clocks, samples, strict=True)):
        if row.shape != (count,):
            raise DynamicsDataError(
                f"environment {number} has {count} samples, but times of shape {row.shape}; give "
                "one time per sample"
            )
    return clocks


def extended(clock: np.ndarray, samples: int) -> np.ndarray:
    """Times that go on in their last step until there are enough."""
    further = np.arange(1, samples - len(clock) + 1) * (clock[-1] - clock[-2])
    return np.concatenate([clock, clock[-1] + further])


SPLITS = ("train", "test", "ood_train", "ood_test", "long")


def read_folder(folder: Path) -> DynamicsData:
    """A folder of CSV files, one per environment, or one of splits.

    A folder of splits holds `train`, and `test`, `ood_train`, `ood_test` and `long` where there
    are any, each a folder of CSV files or an .npz file (as `generate-data` writes them).

    Raises:
        DynamicsDataError: see `read_tables` and `read_split`; or when the splits do not fit.
    """
    splits = {}
    for name in SPLITS:
        if (folder / f"{name}.npz").is_file():
            splits[name] = read_split(folder / f"{name}.npz")
        elif (folder / name).is_dir():
            splits[name] = read_tables(folder / name)
    if not splits:
        return DynamicsData(folder.name, train=read_tables(folder))
    if "train" not in splits:
        raise DynamicsDataError(
            f"{folder} holds {', '.join(splits)} but no train; add train.npz or a folder train"
        )
    train = splits["train"]
    for name, split in splits.items():
        if split.dim != train.dim:
            raise DynamicsDataError(
                f"{folder.name}: {name} has {split.dim} state dimensions, train has {train.dim}; "
                "give the same variables to all splits"
            )
    for one, other in (("train", "test"), ("train", "long"), ("ood_train", "ood_test")):
        sizes = [splits[n].num_environments for n in (one, other) if n in splits]
        if len(set(sizes)) > 1:
            raise DynamicsDataError(
                f"{folder.name}: {one} has {sizes[0]} environments, {other} has {sizes[1]}; "
                "both must hold the same environments in the same order"
            )
    return DynamicsData(folder.name, **splits)


def read_tables(folder: Path) -> Environments:
    """One CSV file per environment: a column `t`, columns of states, and `trajectory` if several.

    Files are taken in order of name. Without a column `trajectory` a file is one trajectory. Files
    and trajectories may differ in length. Systems do not depend on time, so that the trajectories
    of a file may begin at different times; the times of the longest one are kept.

    Raises:
        DynamicsDataError: for missing or different columns, times that do not increase, or whose
            steps differ between trajectories.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise DynamicsDataError(f"{folder} holds no .csv file; put one there per environment")
    states, times, columns = [], [], None
    for path in files:
        table = read_table(path)
        own = [name for name in table.columns if name not in ("t", "trajectory")]
        if columns is not None and own != columns:
            raise DynamicsDataError(
                f"{path.name} has the state columns {own}, {files[0].name} has {columns}; "
                "give the same columns to all environments"
            )
        columns = own
        groups = [g for _, g in table.groupby("trajectory")] if "trajectory" in table else [table]
        clocks = [group["t"].to_numpy(float) for group in groups]
        longest = max(clocks, key=len)
        steps = np.diff(longest)
        rounding = 1e-3 * max(steps.min(), 0) if len(steps) else 0.0
        for number, clock in enumerate(clocks):
            since, expected = clock - clock[0], longest[: len(clock)] - longest[0]
            same = np.isclose(since, expected, atol=rounding)
            if not same.all():
                first = int(same.argmin())
                raise DynamicsDataError(
                    f"{path.name}: trajectory {number} has other steps between its times than the "
                    f"longest one (sample {first} comes {since[first]:g} after the first, there "
                    f"{expected[first]:g}); resample both to the same steps, or give each a file "
                    "of its own"
                )
        states.append([group[own].to_numpy(float) for group in groups])
        times.append(longest)
    try:
        return from_arrays(states, times)
    except DynamicsDataError as error:
        number = re.search(r"environment (\d+)", str(error))
        if number is None:
            raise
        name = files[int(number[1])].name
        raise DynamicsDataError(f"{error} (environment {number[1]} is {name})") from None


def read_table(path: Path) -> pd.DataFrame:
    """A CSV file of numbers with a column `t`."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DynamicsDataError(f"{path.name} is not a readable CSV file: {error}") from error
    if "t" not in table.columns:
        raise DynamicsDataError(
            f"{path.name} has no column 't' (it has {', '.join(map(str, table.columns))}); "
            "name the column of times t, and separate columns by commas"
        )
    if not set(table.columns) - {"t", "trajectory"}:
        raise DynamicsDataError(
            f"{path.name} has no column of states beside {' and '.join(table.columns)}; add one "
            "per state dimension"
        )
    if table.empty:
        raise DynamicsDataError(
            f"{path.name} holds no row below its header; give two or more, or leave the file out"
        )
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            wrong = table[name][pd.to_numeric(table[name], errors="coerce").isna()].iloc[0]
            raise DynamicsDataError(
                f"{path.name}: column {name} holds {wrong!r}; all columns must be numbers"
            )
        if name in ("t", "trajectory") and table[name].isna().any():
            row = int(table[name].isna().argmax()) + 1
            raise DynamicsDataError(
                f"{path.name}: column {name} has no value in row {row}; "
                "fill it in or remove the row"
            )
    return table


def read_arrays(path: Path) -> DynamicsData:
    """An .npz file with `X` (environments, trajectories, times, dims) and `t`.

    A leading axis of families, as in ODEBench's files, is flattened; `family` and `lengths`
    (environments, trajectories) are optional.
    """
    return DynamicsData(path.stem, train=read_split(path))


def read_split(path: Path) -> Environments:
    """One split of a data set from an .npz file."""
    try:
        with path.open("rb") as file:
            archive = np.load(file)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            content = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DynamicsDataError(
            f"{path} is not a readable .npz file: {error}; write it with numpy.savez"
        ) from error
    if "X" not in content or "t" not in content:
        raise DynamicsDataError(
            f"{path.name} holds {', '.join(sorted(content))}; expected X (environments, "
            "trajectories, times, dims) and t"
        )
    x, t = content["X"], content["t"]
    for key, value in (("X", x), ("t", t)):
        if value.dtype.kind not in "fiub":
            raise DynamicsDataError(
                f"{path.name}: {key} holds {value.dtype.str}, expected numbers; convert it first"
            )
    if x.ndim == 5:
        families, members = x.shape[:2]
        t = np.repeat(t, members, axis=0) if t.ndim == 2 else t
        family = np.repeat(np.arange(families), members)
        return Environments(x.reshape(-1, *x.shape[2:]), t, family)
    return Environments(x, t, content.get("family"), lengths=content.get("lengths"))
