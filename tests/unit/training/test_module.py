"""The module base: loss, auxiliary terms, accumulation, checkpoints, controllers, averages."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.plugins import MixedPrecision
from torch import nn

from mixtura.core import Controller, LoadBalance, record_routing, to_config
from mixtura.core.errors import InputError
from mixtura.training import (
    SGD,
    AdamW,
    Checkpoint,
    Constant,
    MoEModule,
    NonFiniteError,
    Trainer,
    read_checkpoint,
)
from tests.e2e.training.toyapp.model import ToyClassifier, ToyData, ToyNetwork


def train(module: MoEModule, data: ToyData | None = None, **options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        **options,
    }
    trainer = Trainer(**settings)
    trainer.fit(module, datamodule=data or ToyData(num_samples=32))
    return trainer


def classifier(**options: Any) -> ToyClassifier:
    torch.manual_seed(0)
    network = ToyNetwork(dropout=0.0, balance=options.pop("balance", 0.5))
    optimizer = options.pop("optimizer", SGD(lr=0.1, momentum=0.0))
    return ToyClassifier(network, optimizer, Constant(), **options)


def test_loss_is_task_plus_auxiliary_terms() -> None:
    module = classifier()
    data = ToyData(num_samples=8)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    module.trainer = None
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.__setitem__(name, float(value.detach()))
    total = module.training_step(batch, 0)
    with record_routing(module.network) as record:
        task, _ = module.task_loss(batch)
    terms = record.losses()
    assert list(terms)
    torch.testing.assert_close(total, task + sum(terms.values()))
    assert logged["train/loss"] == pytest.approx(float(task.detach()))
    for name, value in terms.items():
        assert logged[f"aux/{name}"] == pytest.approx(float(value.detach()))
    assert any(isinstance(loss, LoadBalance) for loss in module.network.moe.losses)


def test_accumulation_equals_the_larger_batch_without_pooled_terms() -> None:
    """Terms over units of a batch (load balance) are means over micro-batches; others are equal."""
    whole, parts = classifier(balance=0.0), classifier(balance=0.0)
    train(whole, ToyData(num_samples=32, batch_size=16))
    train(parts, ToyData(num_samples=32, batch_size=8), accumulate_grad_batches=2)
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_statistics_of_an_optimiser_step_cover_its_batches() -> None:
    module = classifier()
    seen: list[int] = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step > len(seen):
                seen.append(int(pl_module.last_statistics["moe"].num_units))

    train(
        module, ToyData(num_samples=32, batch_size=8), accumulate_grad_batches=2, callbacks=[Look()]
    )
    assert seen == [16, 16]


class Counting(Controller):
    def __init__(self) -> None:
        super().__init__()
        self.units: list[int] = []

    def step(self, routers: Any, statistics: Any) -> None:
        assert set(routers) == set(statistics) == {"moe"}
        assert torch.isfinite(statistics["moe"].score_sum).all()
        self.units.append(int(statistics["moe"].num_units))


def test_controllers_run_once_per_optimiser_step() -> None:
    module = classifier()
    controller = Counting()
    module.controllers.append(controller)
    train(module, ToyData(num_samples=48, batch_size=8), accumulate_grad_batches=3)
    assert controller.units == [24, 24]


def test_bfloat16_autocast_trains() -> None:
    module = classifier(optimizer=AdamW(lr=0.01))
    trainer = train(module, precision="bf16-mixed", max_epochs=8)
    assert float(trainer.callback_metrics["train/loss"]) < 1.0
    assert all(p.dtype is torch.float32 for p in module.parameters())


class Overflowing(ToyClassifier):
    """Infinite gradients at the optimiser steps told."""

    overflow: frozenset[int] = frozenset()

    def task_loss(self, batch: Any) -> Any:
        loss, figures = super().task_loss(batch)
        if self.global_step in self.overflow:
            loss.register_hook(lambda grad: grad * torch.inf)
        return loss, figures


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback:UserWarning")
def test_float16_leaves_out_the_steps_that_overflow() -> None:
    """Neither weights nor optimiser, average or controllers see such a step."""
    torch.manual_seed(0)
    module = Overflowing(ToyNetwork(dropout=0.0), AdamW(lr=0.01), Constant())
    module.overflow = frozenset({0, 2})
    controller = Counting()
    module.controllers.append(controller)
    seen: list[list[torch.Tensor]] = [[p.detach().clone() for p in module.parameters()]]
    scales: list[float] = []
    average = EMAWeightAveraging(decay=0.5)

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            seen.append([p.detach().clone() for p in pl_module.parameters()])
            scales.append(trainer.precision_plugin.scaler.get_scale())
            if trainer.global_step == 1:
                averaged = average._average_model.module.parameters()
                assert all(map(torch.equal, averaged, seen[0]))

    train(
        module,
        ToyData(num_samples=40, batch_size=8),
        plugins=[MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))],
        callbacks=[average, Look()],
    )
    moved = [not all(map(torch.equal, a, b)) for a, b in pairwise(seen)]
    assert moved == [False, True, False, True, True]
    assert scales[0] == scales[1] == 2 * scales[2] == 2 * scales[4]
    assert controller.units == [8, 8, 8]
    assert all(p.dtype is torch.float32 for p in module.parameters())


def test_checkpointed_activations_give_the_same_gradients() -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(ToyClassifier):
        def task_loss(self, batch: Any) -> Any:
            x, label = batch
            logits = checkpoint(self.network, x, use_reentrant=False)
            return nn.functional.cross_entropy(logits, label), {}

    plain = classifier()
    torch.manual_seed(0)
    again = Checkpointed(
        ToyNetwork(dropout=0.0, balance=0.5), SGD(lr=0.1, momentum=0.0), Constant()
    )
    train(plain)
    train(again)
    for a, b in zip(plain.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback:UserWarning")
def test_exponential_average(tmp_path: Path) -> None:
    module = classifier()
    start = module.network.head.weight.detach().clone()
    train(module, callbacks=[EMAWeightAveraging(decay=0.5)], max_epochs=2)
    assert not torch.equal(start, module.network.head.weight)


@pytest.mark.filterwarnings("ignore:You're using the WeightAveraging callback:UserWarning")
def test_checkpoints_hold_the_average(tmp_path: Path) -> None:
    """What is loaded, tested and shared is the average; a resumed run goes on from both."""

    def run(folder: Path, epochs: int, resume: Path | None = None) -> ToyClassifier:
        module = classifier()
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[EMAWeightAveraging(decay=0.5), Checkpoint(folder)],
        )
        data = ToyData(num_samples=32)
        trainer.fit(module, datamodule=data, ckpt_path=str(resume) if resume else None)
        return module

    last = tmp_path / "half" / "last.ckpt"
    averaged = run(last.parent, 1).state_dict()  # Lightning ends with the average
    stored = read_checkpoint(last)
    assert not torch.equal(
        stored["current_model_state"]["network.head.weight"], averaged["network.head.weight"]
    )
    for name, value in MoEModule.load_from_checkpoint(last).state_dict().items():
        assert torch.equal(value, averaged[name])
    whole, resumed = run(tmp_path / "whole", 2), run(tmp_path / "again", 2, last)
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("at", [0, 17])
def test_nan_stops_with_the_batch(at: int) -> None:
    module = classifier()
    with pytest.raises(NonFiniteError, match=r"batch \d+ is nan \(epoch 0, step \d+\)"):
        train(module, ToyData(num_samples=32, nan_at=at))
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_nan_is_skipped_and_counted() -> None:
    module = classifier(nonfinite="skip", optimizer=AdamW(lr=0.01))
    module.network.norm = nn.BatchNorm1d(8)
    train(module, ToyData(num_samples=32, nan_at=3), max_epochs=3)
    assert module.skipped == 3
    for value in module.state_dict().values():
        assert torch.isfinite(value).all()


def test_controllers_see_good_batches_alone() -> None:
    module = classifier(nonfinite="skip")
    controller = Counting()
    module.controllers.append(controller)
    train(module, ToyData(num_samples=32, batch_size=8, nan_at=3), accumulate_grad_batches=2)
    assert sorted(controller.units) == [8, 16]


def test_a_step_of_skipped_batches_alone_is_not_taken() -> None:
    module = classifier(nonfinite="skip", optimizer=AdamW(lr=0.01, weight_decay=0.5))
    data = ToyData(num_samples=8, nan_at=0)
    before = [p.detach().clone() for p in module.parameters()]
    train(module, data)
    for a, b in zip(before, module.parameters(), strict=True):
        assert torch.equal(a, b)


def test_infinite_gradients_take_no_step() -> None:
    class Exploding(ToyClassifier):
        def task_loss(self, batch: Any) -> Any:
            loss, figures = super().task_loss(batch)
            loss.register_hook(lambda grad: grad * torch.inf)
            return loss, figures

    torch.manual_seed(0)
    module = Exploding(ToyNetwork(balance=0.0), SGD(), Constant())
    with pytest.raises(NonFiniteError, match="gradients are not finite"):
        train(module)
    assert all(torch.isfinite(p).all() for p in module.parameters())


def test_unknown_policy() -> None:
    with pytest.raises((InputError, TypeError), match="nonfinite"):
        classifier(nonfinite="ignore")


def test_empty_data() -> None:
    with pytest.raises(InputError, match="no batch"):
        train(classifier(), ToyData(num_samples=0))


@pytest.mark.parametrize("built", ["by hand", "from yaml"])
def test_checkpoint_loads_by_itself(tmp_path: Path, built: str) -> None:
    from mixtura.core import from_config

    module = classifier(smoothing=0.1)
    if built == "from yaml":
        module = from_config(to_config(module))
    trainer = train(module)
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    again = MoEModule.load_from_checkpoint(path)
    assert type(again) is ToyClassifier
    assert to_config(again) == to_config(module)
    assert again.smoothing == 0.1
    for a, b in zip(module.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert read_checkpoint(path)["mixtura"]["data"]["class_path"].endswith("ToyData")


class Mesh:
    """The sizes of a mesh of processes."""

    def __init__(self, **sizes: int) -> None:
        self.sizes = sizes

    def __getitem__(self, name: str) -> "Mesh":
        return Mesh(**{name: self.sizes[name]})

    def size(self) -> int:
        return math.prod(self.sizes.values())


def test_experts_are_not_spread_over_tensor_parallel_processes() -> None:
    module = classifier()
    module._device_mesh = Mesh(data_parallel=1, tensor_parallel=2)
    with pytest.raises(InputError, match="data_parallel_size=2 and tensor_parallel_size=1"):
        module.configure_model()


def test_models_without_experts_train() -> None:
    class Plain(ToyClassifier):
        pass

    module = Plain(ToyNetwork(), SGD(), Constant())
    module.network.moe = nn.Identity()
    module = Plain(module.network, SGD(), Constant())
    train(module)
    assert module.last_statistics == {}
