"""Environments: trajectories of several dynamical systems, with what is known about each system.

A *family* is a parametric ODE, an *environment* one value of its parameters; the trajectories of
an environment differ in their initial state only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mixtura.datasets.errors import InputError

__all__ = ["DynamicsData", "DynamicsDataError", "Environments"]


class DynamicsDataError(InputError):
    """Trajectories that cannot be used as they are."""


@dataclass(frozen=True)
class Environments:
    """One split of a data set.

    Args:
        x: trajectories (environments, trajectories, times, dims).
        t: times (environments, times), strictly increasing along the last axis.
        family: true family of each environment (environments,), or None where it is not known.
            It is used to score family recovery and never shown to a model.
        parameters: true parameters (environments, parameters) or None.
        lengths: samples of each trajectory (environments, trajectories) where they differ, 0 for
            one that is not there; what lies beyond in `x` is padding. None where all are whole.

    Raises:
        DynamicsDataError: for shapes that do not belong together, times that do not increase or
            values that are not finite; the environment is named.
    """

    x: np.ndarray
    t: np.ndarray
    family: np.ndarray | None = None
    parameters: np.ndarray | None = None
    lengths: np.ndarray | None = None

    def __post_init__(self) -> None:
        x = np.asarray(self.x)
        if x.ndim != 4 or 0 in x.shape:
            raise DynamicsDataError(
                "expected trajectories of shape (environments, trajectories, times, dims) with no "
                f"empty axis, got {x.shape}; add the missing axis, for example x[:, None] for one "
                "trajectory per environment"
            )
        if x.shape[2] < 2:
            raise DynamicsDataError(
                f"expected trajectories of two samples or more, got {x.shape[2]}; give more, or "
                "keep more of them (a smaller stride)"
            )
        t = np.asarray(self.t, dtype=np.float64)
        if t.ndim == 1:
            t = np.broadcast_to(t, (x.shape[0], t.shape[0])).copy()
        if t.shape != (x.shape[0], x.shape[2]):
            raise DynamicsDataError(
                f"expected times of shape ({x.shape[2]},) or ({x.shape[0]}, {x.shape[2]}), got "
                f"{t.shape}; give one time per sample, shared or per environment"
            )
        check_times(t)
        check_finite(x)
        for name in ("family", "parameters"):
            value = getattr(self, name)
            if value is not None and len(value) != x.shape[0]:
                raise DynamicsDataError(
                    f"expected one entry of {name} per environment ({x.shape[0]}), got {len(value)}"
                )
        if self.lengths is not None:
            object.__setattr__(self, "lengths", checked_lengths(np.asarray(self.lengths), x.shape))
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "t", t)

    @property
    def num_environments(self) -> int:
        """Number of environments."""
        return self.x.shape[0]

    @property
    def dim(self) -> int:
        """Number of state dimensions."""
        return self.x.shape[3]

    def every(self, stride: int) -> "Environments":
        """Keep each `stride`-th time, the first one included."""
        lengths = None if self.lengths is None else -(-self.lengths // stride)
        return replace(self, x=self.x[:, :, ::stride], t=self.t[:, ::stride], lengths=lengths)

    def trajectories(self, which: slice | list[int]) -> "Environments":
        """Keep some trajectories of each environment."""
        lengths = None if self.lengths is None else self.lengths[:, which]
        return replace(self, x=self.x[:, which], lengths=lengths)

    def select(self, which: slice | list[int] | np.ndarray) -> "Environments":
        """Keep some environments."""
        return Environments(
            self.x[which],
            self.t[which],
            None if self.family is None else np.asarray(self.family)[which],
            None if self.parameters is None else np.asarray(self.parameters)[which],
            None if self.lengths is None else self.lengths[which],
        )


@dataclass(frozen=True)
class DynamicsData:
    """A data set in the four-split convention of the field.

    Args:
        name: its name.
        train: environments to learn from.
        test: the same environments from new initial states, or None.
        ood_train: one trajectory of each new environment, to adapt on, or None.
        ood_test: more trajectories of the new environments, or None.
        leak_free: trajectories of `test` that do not repeat a training trajectory (None: all).
        leak_free_ood: trajectories of `ood_test` that do not repeat an adaptation trajectory.
        notes: what a reader of the results has to know.
        extra: further remarks by name.
        long: one long trajectory of each training environment, for long-term statistics, or None.
    """

    name: str
    train: Environments
    test: Environments | None = None
    ood_train: Environments | None = None
    ood_test: Environments | None = None
    leak_free: slice | None = None
    leak_free_ood: slice | None = None
    notes: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    long: Environments | None = None

    def every(self, stride: int) -> "DynamicsData":
        """Keep each `stride`-th time of every split."""
        splits = {
            name: None if split is None else split.every(stride)
            for name, split in self.splits().items()
        }
        long = None if self.long is None else self.long.every(stride)
        return replace(self, long=long, **splits)

    def first(self, count: int) -> "DynamicsData":
        """Keep the first `count` environments of training and test."""
        return replace(
            self,
            train=self.train.select(slice(0, count)),
            test=None if self.test is None else self.test.select(slice(0, count)),
            long=None if self.long is None else self.long.select(slice(0, count)),
        )

    def splits(self) -> dict[str, Environments | None]:
        """The four splits by name."""
        return {
            "train": self.train,
            "test": self.test,
            "ood_train": self.ood_train,
            "ood_test": self.ood_test,
        }


def checked_lengths(lengths: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Lengths that fit the states; None where every trajectory is whole."""
    if lengths.shape != shape[:2] or lengths.min() < 0 or lengths.max() > shape[2]:
        raise DynamicsDataError(
            f"expected a length between 0 and {shape[2]} for each of {shape[0]} environments and "
            f"{shape[1]} trajectories, got shape {lengths.shape}"
            + (f" and {lengths.min()} to {lengths.max()}" if lengths.size else "")
        )
    short = np.flatnonzero(lengths.max(1) < 2)
    if len(short):
        raise DynamicsDataError(
            f"environment {short[0]} has no trajectory of two samples or more; leave it out, or "
            "keep more of its samples"
        )
    return None if (lengths == shape[2]).all() else lengths.astype(np.int64)


def check_times(t: np.ndarray) -> None:
    """Refuse times that do not strictly increase; the place is named."""
    if not np.isfinite(t).all():
        environment = int(np.argwhere(~np.isfinite(t))[0, 0])
        raise DynamicsDataError(
            f"the times of environment {environment} hold a value that is not finite; "
            "remove that sample"
        )
    steps = np.diff(t, axis=1)
    if (steps <= 0).any():
        environment, position = (int(i) for i in np.argwhere(steps <= 0)[0])
        before, after = t[environment, position], t[environment, position + 1]
        problem = "repeats" if before == after else "runs backwards"
        raise DynamicsDataError(
            f"the times of environment {environment} must strictly increase, but time {problem} "
            f"at sample {position + 1} ({before:g} then {after:g}); sort the samples and drop "
            "repeats"
        )


def check_finite(x: np.ndarray) -> None:
    """Refuse NaN and infinity, naming the first place."""
    bad = ~np.isfinite(x)
    if bad.any():
        e, n, s, d = (int(i) for i in np.argwhere(bad)[0])
        raise DynamicsDataError(
            f"environment {e}, trajectory {n} holds {x[e, n, s, d]} at sample {s}, dimension {d} "
            f"({int(bad.sum())} such values in all); remove or fill them first"
        )
