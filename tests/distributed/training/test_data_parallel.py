"""Two processes over gloo train like one process with the doubled batch."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from mixtura.core import Controller
from mixtura.training import (
    SGD,
    AdamW,
    Checkpoint,
    Constant,
    MoEModule,
    RoutingMonitor,
    Trainer,
    read_checkpoint,
)
from tests.e2e.training.toyapp.model import ToyClassifier, ToyData, ToyNetwork


def train(
    folder: Path, ranks: int, batch_size: int, *, resume: Path | None = None, **options: Any
) -> tuple[ToyClassifier, pl.Trainer]:
    pl.seed_everything(3, verbose=False)
    network = ToyNetwork(dropout=0.0, balance=options.pop("balance", 0.0))
    module = ToyClassifier(
        network,
        options.pop("optimizer", SGD(lr=0.1, momentum=0.9)),
        Constant(),
        nonfinite=options.pop("nonfinite", "raise"),
    )
    data = ToyData(
        num_samples=options.pop("num_samples", 64),
        batch_size=batch_size,
        nan_at=options.pop("nan_at", None),
    )
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": ranks,
        "strategy": "ddp_fork" if ranks > 1 else "auto",
        "max_epochs": 2,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "callbacks": [Checkpoint(folder), *options.pop("callbacks", [])],
        **options,
    }
    trainer = Trainer(**settings)
    trainer.fit(module, datamodule=data, ckpt_path=str(resume) if resume else None)
    return module, trainer


def assert_same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    for one, two in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_two_processes_are_one_with_the_doubled_batch(tmp_path: Path) -> None:
    two, _ = train(tmp_path / "two", 2, 8)
    one, _ = train(tmp_path / "one", 1, 16)
    assert_same(two, one)
    assert read_checkpoint(tmp_path / "two" / "last.ckpt")["global_step"] == 8
    loaded = MoEModule.load_from_checkpoint(tmp_path / "two" / "last.ckpt")
    assert_same(loaded, one)


def test_with_accumulation(tmp_path: Path) -> None:
    two, _ = train(tmp_path / "two", 2, 4, accumulate_grad_batches=2)
    one, _ = train(tmp_path / "one", 1, 16)
    assert_same(two, one)


def test_checkpoint_of_two_resumes_in_one(tmp_path: Path) -> None:
    train(tmp_path / "two", 2, 8, max_epochs=1)
    resumed, _ = train(tmp_path / "next", 1, 16, resume=tmp_path / "two" / "last.ckpt")
    whole, _ = train(tmp_path / "one", 1, 16)
    assert_same(resumed, whole)


class Units(Controller):
    """Writes down how many units it was shown."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def step(self, routers: Any, statistics: Any) -> None:
        with self.path.open("a") as file:
            file.write(f"{int(statistics['moe'].num_units)}\n")


class AddController(pl.Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if not pl_module.controllers:
            pl_module.controllers.append(Units(self.path))


def test_controllers_and_monitor_see_all_ranks(tmp_path: Path) -> None:
    path = tmp_path / "units"
    train(
        tmp_path / "two",
        2,
        8,
        balance=0.1,
        callbacks=[AddController(path), RoutingMonitor(every=1)],
        max_epochs=1,
    )
    assert path.read_text().split() == ["16"] * 8  # four steps on each of two ranks


def test_a_bad_batch_on_one_rank_is_skipped(tmp_path: Path) -> None:
    module, _ = train(
        tmp_path / "two", 2, 8, nan_at=5, nonfinite="skip", optimizer=AdamW(lr=0.01), max_epochs=1
    )
    for parameter in module.parameters():
        assert torch.isfinite(parameter).all()


@pytest.mark.parametrize("samples", [62])
def test_uneven_data(tmp_path: Path, samples: int) -> None:
    train(tmp_path / "two", 2, 8, num_samples=samples, max_epochs=1)
    assert read_checkpoint(tmp_path / "two" / "last.ckpt")["global_step"] == 4
