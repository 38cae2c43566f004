"""What the experts get to do, logged while a model trains; warns when a layer collapses."""

import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from mixtura.core import LayerStatistics

__all__ = ["RoutingMonitor"]


class RoutingMonitor(Callback):
    """Log the routing statistics of each MoE layer every `every` optimiser steps, over those steps.

    Logged as `routing/FIGURE/LAYER`: `cv` (coefficient of variation of the load), `maxvio`
    (largest load over the mean, minus 1), `load_entropy` and `router_entropy` (nats), `dead`
    (experts without a unit), `cold` (experts below `cold_share` of the mean load), `churn` (share
    of the load that moved since the last time), `active` (experts per unit), `load_max`. Each
    expert's load is in `loads`, and is logged as `routing/load/LAYER/EXPERT` if `each_expert`.

    Args:
        every: Optimiser steps between two lines of the log.
        cold_share: Share of the mean load below which an expert is cold.
        collapse_share: Warn when one expert takes this share of a layer's assignments.
        collapse_after: Logged windows in a row before the warning.
        each_expert: Log the load of every expert.
    """

    def __init__(
        self,
        every: int = 50,
        cold_share: float = 0.1,
        collapse_share: float = 0.9,
        collapse_after: int = 2,
        each_expert: bool = False,
    ) -> None:
        self.every = every
        self.cold_share = cold_share
        self.collapse_share = collapse_share
        self.collapse_after = collapse_after
        self.each_expert = each_expert
        self.loads: dict[str, Tensor] = {}
        self.figures: dict[str, dict[str, float]] = {}
        self._window: dict[str, LayerStatistics] = {}
        self._collapsed: dict[str, int] = {}
        self._step = -1

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take the statistics of the finished optimiser step; log when the window is full."""
        if trainer.global_step == self._step:
            return  # in the middle of an accumulation
        self._step = trainer.global_step
        for name, one in getattr(pl_module, "last_statistics", {}).items():
            before = self._window.get(name)
            self._window[name] = one if before is None else before + one
        if self._step % self.every == 0:
            self._flush(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what is left, so that short runs are seen too."""
        if self._window and not self.figures:
            self._flush(trainer, pl_module)

    def _flush(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        window, self._window = self._window, {}
        logged: dict[str, float] = {}
        for layer, statistics in window.items():
            figures = self._of(layer, statistics.across_ranks())
            self.figures[layer] = figures
            logged |= {f"routing/{name}/{layer}": value for name, value in figures.items()}
            if self.each_expert:
                loads = self.loads[layer].tolist()
                logged |= {f"routing/load/{layer}/{e}": load for e, load in enumerate(loads)}
            self._warn(layer, figures)
        if logged:
            for logger in trainer.loggers:
                logger.log_metrics(logged, step=trainer.global_step)

    def _of(self, layer: str, one: LayerStatistics) -> dict[str, float]:
        load = one.load.float().cpu()
        before = self.loads.get(layer)
        self.loads[layer] = load
        figures = {
            "cv": float(one.coefficient_of_variation),
            "maxvio": float(one.max_violation),
            "load_entropy": float(one.load_entropy),
            "dead": float(one.dead),
            "cold": float((load < self.cold_share / len(load)).sum()),
            "active": float(one.mean_active),
            "load_max": float(load.max()),
        }
        if one.mean_entropy is not None:
            figures["router_entropy"] = float(one.mean_entropy)
        if before is not None and before.shape == load.shape:
            figures["churn"] = float((load - before).abs().sum() / 2)
        return figures

    def _warn(self, layer: str, figures: dict[str, float]) -> None:
        experts = len(self.loads[layer])
        if experts < 2 or figures["load_max"] < self.collapse_share:
            self._collapsed[layer] = 0
            return
        self._collapsed[layer] = self._collapsed.get(layer, 0) + 1
        if self._collapsed[layer] == self.collapse_after:
            warnings.warn(
                f"layer {layer} has collapsed: expert {int(self.loads[layer].argmax())} takes "
                f"{figures['load_max']:.0%} of the assignments and {int(figures['dead'])} of "
                f"{experts} experts get none; raise the weight of its load-balance loss or lower "
                "the router's learning rate",
                stacklevel=2,
            )
