"""Packaged configurations, built without the command line."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from mixtura.core import from_config
from mixtura.training.cli.trees import read_tree

FOLDER = Path(str(files("mixtura.apps.forecasting").joinpath("configs")))


def load(name: str) -> dict[str, Any]:
    """Model and data of a configuration, and its plain settings.

    Args:
        name: of a packaged configuration, or a path.

    Returns:
        `module`, `network`, `data`, `trainer` (arguments) and `seed`.

    Raises:
        InputError: when there is no such configuration.
    """
    tree = read_tree(name, FOLDER, "mixtura-forecasting")
    seed = tree.get("seed_everything", 0)
    import pytorch_lightning as pl

    pl.seed_everything(seed, verbose=False)
    module = from_config(tree["model"])
    return {
        "module": module,
        "network": module.network,
        "data": from_config(tree["data"]),
        "trainer": tree.get("trainer", {}),
        "seed": seed,
    }
