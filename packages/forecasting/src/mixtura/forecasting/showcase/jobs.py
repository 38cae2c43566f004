"""One model of a comparison: trained if there is something to train, then scored."""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger

from mixtura.datasets import LTSFDataModule
from mixtura.forecasting.comparison import Result, active_parameters, score
from mixtura.forecasting.module import ForecastModule
from mixtura.forecasting.networks.base import ForecastNetwork
from mixtura.forecasting.showcase.stages import StageProgress, Stages
from mixtura.training import Trainer
from mixtura.training.callbacks import Checkpoint
from mixtura.training.checkpoint import load_state, read_checkpoint

__all__ = ["Job", "run_job"]

LIGHTNING = ("pytorch_lightning", "lightning_fabric")
BACKWARD = 3.0
"""A training window costs about three forward passes."""


class Job:
    """A model with its data and settings.

    Args:
        name: of the line in the table.
        settings: `network` and `data`; for a model to train also `module`, `trainer` and `seed`.
        max_steps: stop training after so many steps; -1 for the configured epochs.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], max_steps: int = -1) -> None:
        self.name, self.max_steps = name, max_steps
        self.network: ForecastNetwork = settings["network"]
        self.data: LTSFDataModule = settings["data"]
        self.module: ForecastModule | None = settings.get("module")
        self.trainer: dict[str, Any] = dict(settings.get("trainer", {}))
        self.seed: int | None = settings.get("seed")

    @property
    def size(self) -> float:
        """What one window costs, very roughly."""
        return 1.0 + sum(parameter.numel() for parameter in self.network.parameters()) / 1e5

    @property
    def work(self) -> float:
        """Of training and scoring."""
        windows = float(len(self.data.source("test")))
        if self.module is not None:
            train, val = self.data.source("train"), self.data.source("val")
            epochs = float(self.trainer.get("max_epochs", 1))
            if self.max_steps > 0:
                epochs = min(epochs, self.max_steps * self.data.batch_size / len(train))
            windows += epochs * (BACKWARD * len(train) + len(val))
        return self.size * windows


def run_job(job: Job, folder: Path, stages: Stages) -> Result:
    """Train and score one model; its best checkpoint and log are left below `folder`.

    Args:
        job: The model.
        folder: of the whole comparison.
        stages: the progress bar.
    """
    begin = time.perf_counter()
    if job.module is not None:
        train(job, job.module, folder / job.name.lower().replace(" ", "-"), stages)
    stages.say(f"{job.name}: scoring")
    windows, mse, mae = score(
        job.network,
        job.data.test_dataloader(),
        calendar=job.module is not None and job.module.calendar,
        advance=lambda count: stages.advance(job.size * count),
    )
    return Result(
        name=job.name,
        windows=windows,
        mse=mse,
        mae=mae,
        parameters=sum(parameter.numel() for parameter in job.network.parameters()),
        active_parameters=active_parameters(job.network),
        seconds=time.perf_counter() - begin,
        seed=job.seed,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's remarks, which would tear the progress bar."""
    loggers = [logging.getLogger(f"{name}.utilities.rank_zero") for name in LIGHTNING]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def train(job: Job, module: ForecastModule, folder: Path, stages: Stages) -> None:
    """Fit, and go back to the weights of the best validation score."""
    stages.say(f"{job.name}: training")
    checkpoint = Checkpoint(folder)
    size, data = job.size, job.data
    eval_batch = data.eval_batch_size
    settings: dict[str, Any] = {
        "num_sanity_val_steps": 0,
        **job.trainer,
        "max_steps": job.max_steps,
        "default_root_dir": str(folder),
        "logger": CSVLogger(str(folder), name="", version=""),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [
            checkpoint,
            StageProgress(stages, size * BACKWARD * data.batch_size, size * eval_batch),
        ],
    }
    with quiet():
        Trainer(**settings).fit(module, datamodule=data)
    best = Path(checkpoint.best_model_path or checkpoint.last_model_path)
    load_state(module, read_checkpoint(best)["state_dict"], best)
