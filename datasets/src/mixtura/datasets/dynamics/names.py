"""Data sets of dynamical systems by name."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from mixtura.datasets.dynamics.chaotic import chaotic
from mixtura.datasets.dynamics.environments import DynamicsData, DynamicsDataError
from mixtura.datasets.dynamics.glycolytic import glycolytic
from mixtura.datasets.dynamics.lotka_volterra import lotka_volterra
from mixtura.datasets.dynamics.noisy_lorenz import noisy_lorenz
from mixtura.datasets.dynamics.odebench import odebench4, odebench10
from mixtura.datasets.dynamics.own_data import read_arrays, read_folder
from mixtura.datasets.dynamics.selkov import selkov
from mixtura.datasets.dynamics.series import read_ts, synthetic_control

__all__ = ["GENERATED", "PUBLISHED", "environment_names", "load_environments"]

GENERATED: dict[str, Callable[[], DynamicsData]] = {
    "lotka_volterra": lotka_volterra,
    "selkov": selkov,
    "glycolytic": glycolytic,
    "odebench4": odebench4,
    "odebench10": odebench10,
    "noisy_lorenz": noisy_lorenz,
    "lorenz63": partial(chaotic, "lorenz63"),
    "rossler": partial(chaotic, "rossler"),
}
"""Generators by name."""

PUBLISHED = ("lotka_volterra", "selkov", "glycolytic", "odebench4", "odebench10")
"""Those that give published arrays, at the precision that these have."""

FILES = ("synthetic_control",)


def environment_names() -> tuple[str, ...]:
    """Every name that `load_environments` takes."""
    return (*GENERATED, *FILES)


def load_environments(name: str) -> DynamicsData:
    """A data set by name, or a user's own: a folder of CSV files, an .npz or a .ts file.

    The published sets are generated, exactly and within seconds; nothing is downloaded.

    Raises:
        DynamicsDataError: for an unknown name (the nearest ones are offered) or unusable files.
    """
    plain = name.lower().replace("-", "_")
    if plain in GENERATED:
        return GENERATED[plain]()
    if plain == "synthetic_control":
        from mixtura.datasets.verification import data_path

        file = "synthetic_control/synthetic_control.npz"
        return synthetic_control(data_path("synthetic_control", file))
    path = Path(name).expanduser()
    if path.is_dir():
        return read_folder(path)
    if path.is_file():
        if path.suffix == ".npz":
            return read_arrays(path)
        if path.suffix == ".ts":
            return DynamicsData(path.stem, train=read_ts(path))
        raise DynamicsDataError(
            f"{path.name}: expected a folder of CSV files, an .npz or a .ts file"
        )
    near = get_close_matches(plain, environment_names(), n=3, cutoff=0.4) or environment_names()
    raise DynamicsDataError(
        f"there is no system and no file called {name!r}; did you mean {', '.join(near)}?"
    )
