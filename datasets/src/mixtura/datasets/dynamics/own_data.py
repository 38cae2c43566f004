"""A user's own environments: one CSV file each, or arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mixtura.datasets.dynamics.environments import DynamicsData, DynamicsDataError, Environments

__all__ = ["from_arrays", "read_arrays", "read_folder"]


def from_arrays(
    states: Sequence[np.ndarray], times: Sequence[np.ndarray] | np.ndarray
) -> Environments:
    """One array (trajectories, times, dims) or (times, dims) per environment.

    Args:
        states: of each environment; the same number of trajectories, times and dimensions.
        times: shared (times), or one row per environment; they need not be equidistant.

    Raises:
        DynamicsDataError: for environments that differ in size (which one, and how).
    """
    arrays = [np.asarray(x, dtype=np.float64) for x in states]
    arrays = [x[None] if x.ndim == 2 else x for x in arrays]
    if not arrays:
        raise DynamicsDataError("at least one environment is needed, got none")
    for number, x in enumerate(arrays):
        if x.ndim != 3:
            raise DynamicsDataError(
                f"environment {number} has shape {x.shape}; expected (trajectories, times, dims) "
                "or (times, dims)"
            )
        for axis, what, remedy in (
            (2, "state dimensions", "give the same variables, in the same order, to all"),
            (1, "samples", "cut all to the shortest, or resample them"),
            (0, "trajectories", "give the same number to all"),
        ):
            if x.shape[axis] != arrays[0].shape[axis]:
                raise DynamicsDataError(
                    f"environment {number} has {x.shape[axis]} {what}, environment 0 has "
                    f"{arrays[0].shape[axis]}; {remedy}"
                )
    t = np.asarray(times, dtype=np.float64)
    return Environments(np.stack(arrays), t)


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

    Files are taken in order of name. Without a column `trajectory` a file is one trajectory.

    Raises:
        DynamicsDataError: for missing columns, different lengths or dimensions, times that do not
            increase or differ between trajectories.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise DynamicsDataError(f"{folder} holds no .csv file; put one there per environment")
    states, times, columns = [], [], None
    for path in files:
        table = pd.read_csv(path)
        if "t" not in table.columns:
            raise DynamicsDataError(
                f"{path.name} has no column 't' (it has {', '.join(map(str, table.columns))}); "
                "name the column of times t"
            )
        own = [name for name in table.columns if name not in ("t", "trajectory")]
        if columns is not None and own != columns:
            raise DynamicsDataError(
                f"{path.name} has the state columns {own}, {files[0].name} has {columns}; "
                "give the same columns to all environments"
            )
        columns = own
        groups = [g for _, g in table.groupby("trajectory")] if "trajectory" in table else [table]
        lengths = sorted({len(group) for group in groups})
        if len(lengths) != 1:
            raise DynamicsDataError(
                f"{path.name} holds trajectories of {lengths[0]} to {lengths[-1]} samples; "
                "cut them to one length"
            )
        grid = groups[0]["t"].to_numpy(float)
        for group in groups[1:]:
            if not np.allclose(group["t"].to_numpy(float), grid):
                raise DynamicsDataError(
                    f"{path.name}: its trajectories have different times; resample them to one grid"
                )
        states.append(np.stack([group[own].to_numpy(float) for group in groups]))
        times.append(grid)
    if len({len(t) for t in times}) == 1:
        return from_arrays(states, np.stack(times))
    return from_arrays(states, times[0])


def read_arrays(path: Path) -> DynamicsData:
    """An .npz file with `X` (environments, trajectories, times, dims) and `t`.

    A leading axis of families, as in ODEBench's files, is flattened; `family` is optional.
    """
    return DynamicsData(path.stem, train=read_split(path))


def read_split(path: Path) -> Environments:
    """One split of a data set from an .npz file."""
    try:
        with np.load(path) as archive:
            content = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise DynamicsDataError(f"{path} is not a readable .npz file: {error}") from error
    if "X" not in content or "t" not in content:
        raise DynamicsDataError(
            f"{path.name} holds {', '.join(sorted(content))}; expected X (environments, "
            "trajectories, times, dims) and t"
        )
    x, t = content["X"], content["t"]
    if x.ndim == 5:
        families, members = x.shape[:2]
        t = np.repeat(t, members, axis=0) if t.ndim == 2 else t
        family = np.repeat(np.arange(families), members)
        return Environments(x.reshape(-1, *x.shape[2:]), t, family)
    return Environments(x, t, content.get("family"))
