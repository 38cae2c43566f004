"""Trackio as a Lightning logger: runs in a local data base with a dashboard."""

from argparse import Namespace
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.logger import _convert_params
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from mixtura.core.errors import InputError

__all__ = ["TrackioLogger"]


class TrackioLogger(Logger):
    """Log to Trackio, which `trackio show` displays in a browser.

    From YAML: `trainer: {logger: {class_path: mixtura.training.TrackioLogger, init_args: {project:
    mine}}}`. The run begins with the first line of the log, on the first rank alone.

    Args:
        project: Under which its runs are shown together.
        run: Name of this run; Trackio makes one up if not given.
        space_id: Space of the hub (user/name) to log to; a local data base if not given.

    Raises:
        InputError: when the package trackio is not installed.
    """

    def __init__(
        self, project: str = "mixtura", run: str | None = None, space_id: str | None = None
    ) -> None:
        super().__init__()
        try:
            self._trackio: Any = import_module("trackio")
        except ImportError as error:
            raise InputError(
                "TrackioLogger needs the package trackio; install mixtura-training[trackio]"
            ) from error
        self.project, self.space_id = project, space_id
        self._version = run
        self._settings: dict[str, Any] = {}
        self._run: Any = None

    @property
    def name(self) -> str:
        """The project."""
        return self.project

    @property
    def version(self) -> str | None:
        """The run's name, once it is known."""
        return self._version

    @property
    def experiment(self) -> Any:
        """Trackio's run."""
        if self._run is None:
            self._run = self._trackio.init(
                project=self.project,
                name=self._version,
                space_id=self.space_id,
                config=self._settings,
                embed=False,
            )
            self._version = self._run.name
        return self._run

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Keep the configuration for the run's begin."""
        plain = _convert_params(params)
        self._settings |= {
            name: str(value) if isinstance(value, Path) else value for name, value in plain.items()
        }

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """A line of figures."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left and end the run."""
        if self._run is not None:
            self._run.finish()
            self._run = None
