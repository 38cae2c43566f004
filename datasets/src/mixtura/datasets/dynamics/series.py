"""Real series where each one is an environment of its own."""

from pathlib import Path

import numpy as np

from mixtura.datasets.dynamics.environments import DynamicsData, DynamicsDataError, Environments

__all__ = ["read_ts", "synthetic_control"]


def synthetic_control(path: Path) -> DynamicsData:
    """600 control charts of 60 samples in six classes; nothing is held out.

    Every *time point* is standardised over the 600 series, as published results do.

    Alcock and Manolopoulos, Time-series similarity queries employing a feature-based approach,
    1999.
    """
    with np.load(path) as archive:
        x, label = archive["X"].astype(np.float64), archive["y"]
    x = (x - x.mean(0)) / x.std(0)
    t = np.linspace(0, 1, x.shape[1])
    split = Environments(x[:, None, :, None].astype(np.float32), t, label.astype(np.int64))
    return DynamicsData(
        "synthetic_control", train=split, test=split, notes="test and training series are the same"
    )


def read_ts(path: Path) -> Environments:
    """A file in the `.ts` format of the UCR and UEA archives: one univariate series per line.

    The class after the last colon becomes the family.

    Raises:
        DynamicsDataError: for series of different lengths or a line that cannot be read.
    """
    rows, labels = [], []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "@#":
            continue
        values, _, label = line.rpartition(":")
        try:
            rows.append([float(v) for v in values.split(",")])
        except ValueError as error:
            raise DynamicsDataError(
                f"{path.name}, line {number}: expected numbers with commas between and a class "
                "after a colon; only univariate files without missing values are read"
            ) from error
        labels.append(label)
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1:
        raise DynamicsDataError(
            f"{path.name} holds series of {lengths[:3]} samples; cut them to one length first"
        )
    names = sorted(set(labels))
    x = np.array(rows, dtype=np.float32)[:, None, :, None]
    family = np.array([names.index(label) for label in labels])
    return Environments(x, np.linspace(0, 1, lengths[0]), family)
