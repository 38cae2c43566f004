"""The base of every LightningModule: losses, optimiser, steps that are taken or not."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mixtura.core import (
    Controller,
    LayerStatistics,
    moe_layers,
    record_routing,
    routers,
)
from mixtura.core.errors import InputError
from mixtura.training.domain_hooks import DomainHooks
from mixtura.training.optimisation import AdamW, Optimizer, Schedule, WarmupCosine
from mixtura.training.parallel import distribute
from mixtura.training.restorable import Restorable

__all__ = ["MoEModule", "NonFiniteError"]


class NonFiniteError(InputError):
    """A batch whose loss or gradients are not finite."""


def _nothing(statistics: LayerStatistics) -> LayerStatistics:
    """Statistics of the same layer over no unit."""
    values = ((one.name, getattr(statistics, one.name)) for one in fields(statistics))
    empty: dict[str, Any] = {n: None if v is None else torch.zeros_like(v) for n, v in values}
    return LayerStatistics(**empty)


class MoEModule(DomainHooks, Restorable):
    """Base of all LightningModules here. A subclass says what the task's loss is, and no more.

    The training loss is `task_loss` plus the auxiliary terms of the MoE layers, taken from a record
    of the forward pass and logged as `aux/NAME`. A checkpoint needs nothing else to be loaded, and
    a run that is resumed from it continues exactly; see `Restorable`.

    Subclasses are decorated with `@configurable`, call this constructor with their `network`, and
    define `task_loss`; `evaluate` if validation and test need other metrics than the training loss;
    of `DomainHooks` what their domain has to tell.

    Args:
        network: The model proper, a pure `nn.Module`.
        optimizer: How it is optimised.
        schedule: Learning-rate factor over the steps.
        nonfinite: What to do with a batch whose loss or gradients are NaN or infinite: `raise`
            names the batch; `skip` leaves it out and counts it as `skipped_batches`.
        controllers: Change the routers after each optimiser step, from what the experts got to do.
    """

    controllers: Sequence[Controller]

    def __init__(
        self,
        network: nn.Module,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        nonfinite: Literal["raise", "skip"] = "raise",
        controllers: Sequence[Controller] = (),
    ) -> None:
        super().__init__()
        if nonfinite not in ("raise", "skip"):
            raise InputError(f"nonfinite must be raise or skip, got {nonfinite!r}")
        self.network = network
        self.optimizer = AdamW() if optimizer is None else optimizer
        self.schedule = WarmupCosine() if schedule is None else schedule
        self.nonfinite = nonfinite
        self.add_module("controllers", nn.ModuleList(controllers))
        self.skipped = 0
        self.last_statistics: dict[str, LayerStatistics] = {}
        self._statistics: dict[str, LayerStatistics] = {}
        self._has_experts = bool(moe_layers(network))
        self._good = 0
        self._taken = True

    # What a subclass says.

    @abstractmethod
    def task_loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The task's loss of a batch (a scalar) and further figures to log, by name."""

    def evaluate(self, batch: Any) -> dict[str, Tensor]:
        """The figures of a validation or test batch, by name; means over samples are logged."""
        loss, figures = self.task_loss(batch)
        return {"loss": loss, **figures}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The network's forward pass."""
        return self.network(*args, **kwargs)

    # Training.

    def configure_model(self) -> None:
        """Under `ModelParallelStrategy`: spread the experts, shard the rest; see `distribute`."""
        mesh = self._device_mesh
        if mesh is None or self._tree is not None:
            return
        if mesh["data_parallel"].size() == 1 and mesh.size() > 1:
            raise InputError(
                f"experts are spread over the data-parallel processes, and all {mesh.size()} are "
                f"tensor-parallel; give the strategy data_parallel_size={mesh.size()} and "
                "tensor_parallel_size=1"
            )
        self.keep_tree()
        distribute(self.network, mesh["data_parallel"])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Task loss plus auxiliary terms; see the class."""
        buffers = self._buffer_copies() if self.nonfinite == "skip" else None
        if self._has_experts:
            with record_routing(self.network) as record:
                loss, figures = self.task_loss(batch)
            auxiliary, statistics = record.losses(), record.statistics()
        else:
            loss, figures = self.task_loss(batch)
            auxiliary, statistics = {}, {}
        total = loss + sum(auxiliary.values()) if auxiliary else loss
        if not bool(torch.isfinite(total.detach()).all()):
            self._keep({name: _nothing(one) for name, one in statistics.items()})
            return self._not_finite(total, batch_idx, buffers)
        self._good += 1
        self._keep(statistics)
        size = self.batch_size(batch)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        for name, value in figures.items():
            self.log(f"train/{name}", value.detach(), batch_size=size)
        for name, value in auxiliary.items():
            self.log(f"aux/{name}", value.detach(), batch_size=size)
        return total

    def _keep(self, statistics: Mapping[str, LayerStatistics]) -> None:
        """Add the statistics of a batch to those since the last optimiser step."""
        for name, one in statistics.items():
            before = self._statistics.get(name)
            self._statistics[name] = one if before is None else before + one

    def _buffer_copies(self) -> dict[str, Tensor]:
        return {
            name: buffer.clone()
            for name, buffer in self.named_buffers()
            if buffer.is_floating_point()
        }

    def _not_finite(
        self, total: Tensor, batch_idx: int, buffers: dict[str, Tensor] | None
    ) -> Tensor:
        if buffers is None:
            raise NonFiniteError(self._sentence(f"the loss of batch {batch_idx} is {total.item()}"))
        with torch.no_grad():
            for name, buffer in self.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])
        self.skipped += 1
        self.log("skipped_batches", float(self.skipped), prog_bar=True, batch_size=1)
        # A graph over all parameters keeps distributed gradient hooks in step; it adds zero.
        return sum((p.flatten()[:1] * 0.0).sum() for p in self.parameters() if p.requires_grad)  # pyright: ignore[reportReturnType]

    def _sentence(self, found: str) -> str:
        return (
            f"{found} (epoch {self.current_epoch}, step {self.global_step}); look at that batch, "
            "lower the learning rate, clip gradients, or leave such batches out (nonfinite: skip)"
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take no step on gradients that are not finite, or when all its batches were left out."""
        self._taken = True
        if self._scaler is not None:
            return  # the scaler finds infinities itself, and expects them
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms = torch._foreach_norm([g for g in gradients if g is not None])
        finite = not norms or bool(torch.isfinite(torch.stack([n.float() for n in norms])).all())
        idle = self._agree(self._good == 0)
        if not finite and self.nonfinite == "raise":
            raise NonFiniteError(self._sentence("the gradients are not finite"))
        if not finite or idle:
            self._taken = False
            self.skipped += int(not finite)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
        self._good = 0

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Step, then show the controllers the statistics of all batches of the step.

        A step that was not taken (float16's scaler met an infinity, or its batches were left out)
        is none for them, and none for the schedule.
        """
        scaler = self._scaler
        scale = 0.0 if scaler is None else scaler.get_scale()
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if scaler is not None:
            self._taken = scaler.get_scale() >= scale  # it falls when a step is left out
        statistics, self._statistics = self._statistics, {}
        if self.controllers and statistics and self._taken:
            over_ranks = {name: one.across_ranks() for name, one in statistics.items()}
            for controller in self.controllers:
                controller.step(routers(self.network), over_ranks)
        self.last_statistics = statistics

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """The schedule counts the steps that were taken."""
        if self._taken:
            super().lr_scheduler_step(scheduler, metric)

    @property
    def _scaler(self) -> Any:
        """The gradient scaler of float16, None in other precisions."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def _agree(self, flag: bool) -> bool:
        """Whether `flag` holds on every rank."""
        if self.trainer.world_size == 1 or self.nonfinite == "raise":
            return flag
        return bool(self.trainer.strategy.reduce_boolean_decision(flag, all=True))

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser over the parameter groups, and the schedule stepped with it."""
        optimizer = self.optimizer.build(self)
        total = self.trainer.estimated_stepping_batches
        total = 1 if total == float("inf") else int(total)
        epochs = self.trainer.max_epochs or 0
        per_epoch = -(-total // epochs) if epochs > 0 else total
        scheduler = self.schedule.build(optimizer, total, per_epoch)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    # Evaluation.

    def _evaluate_and_log(self, batch: Any, stage: str) -> None:
        size = self.batch_size(batch)
        for name, value in self.evaluate(batch).items():
            self.log(
                f"{stage}/{name}",
                value,
                batch_size=size,
                prog_bar=name == "loss",
                on_step=False,
                on_epoch=True,
                sync_dist=True,
            )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log `evaluate` under `val/`."""
        self._evaluate_and_log(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Log `evaluate` under `test/`, and how many samples were tested."""
        self._evaluate_and_log(batch, "test")
        size = float(self.batch_size(batch))
        self.log(
            "test/samples", size, reduce_fx="sum", sync_dist=True, on_step=False, on_epoch=True
        )

    # Checkpoints; see `Restorable`.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how many batches were left out."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["mixtura"]["skipped"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting the batches that are left out."""
        super().on_load_checkpoint(checkpoint)
        self.skipped = checkpoint.get("mixtura", {}).get("skipped", 0)
