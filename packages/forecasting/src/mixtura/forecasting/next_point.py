"""Pretraining and fine-tuning of Time-MoE."""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core import configurable, to_config
from mixtura.core.errors import InputError
from mixtura.datasets import SequenceBatch, WindowBatch
from mixtura.forecasting.checkpoints.time_moe import load_time_moe
from mixtura.forecasting.horizon_losses import mean_horizon_loss
from mixtura.forecasting.losses import Huber
from mixtura.forecasting.module import ForecastModule
from mixtura.forecasting.networks.time_moe import TimeMoE
from mixtura.training.checkpoint import CONFIG_KEY
from mixtura.training.optimisation import Optimizer, Schedule

__all__ = ["TimeMoEModule"]


@configurable
class TimeMoEModule(ForecastModule):
    """Every head learns what follows every point.

    From sequences (`SequenceDataModule`) it pretrains: where several are packed into one window,
    none sees another, positions begin anew, and a head is not asked for points beyond the end of
    its sequence. From windows of a table (`LTSFDataModule`) it fine-tunes: each variate is a series
    of its own, look-back and horizon together are what it trains on, scaled like the data of the
    evaluation, and validation and test report the errors of the forecast.

    Reference: Shi et al., Time-MoE, ICLR 2025 (arXiv 2409.16040).

    Args:
        network: The network; that of the pretrained folder if not given.
        pretrained: Folder with a released config.json and model.safetensors to begin with.
        optimizer: How it is optimised.
        schedule: Learning-rate factor over the steps.
        delta: Of the Huber loss.
        isolate: Keep packed sequences apart. Without it they are one long series, as in plain
            packing.
        nonfinite: What to do with a batch whose loss is not finite.

    Raises:
        InputError: with neither a network nor a folder, or for a network of other sizes than the
            folder's.
    """

    def __init__(
        self,
        network: TimeMoE | None = None,
        pretrained: str | None = None,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        delta: float = 2.0,
        isolate: bool = True,
        nonfinite: Literal["raise", "skip"] = "raise",
    ) -> None:
        if pretrained is not None:
            network = with_weights(network, load_time_moe(pretrained), pretrained)
        if network is None:
            raise InputError("TimeMoEModule needs a network, or the folder of a pretrained one")
        super().__init__(network, optimizer, schedule, Huber(delta), nonfinite=nonfinite)
        self.delta, self.isolate = delta, isolate
        self._network_tree = to_config(network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The checkpoint holds the weights: it does not need the pretrained folder any more."""
        super().on_save_checkpoint(checkpoint)
        tree = copy.deepcopy(checkpoint[CONFIG_KEY])
        tree["init_args"] |= {"network": self._network_tree, "pretrained": None}
        checkpoint[CONFIG_KEY] = tree

    def task_loss(self, batch: SequenceBatch | WindowBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean Huber loss over the heads."""
        if isinstance(batch, WindowBatch):
            past, future, _ = self.windows(batch)
            return self.network.training_loss(past, future, None, self.loss), {}
        return self.sequence_loss(batch), {}

    def sequence_loss(self, batch: SequenceBatch) -> Float[Tensor, ""]:
        """The loss of windows of sequences; padding and, if isolated, joints do not count."""
        segments = None
        if bool((batch.segments != 0).any()):
            whole = torch.where(batch.segments < 0, -1, 0)
            segments = batch.segments if self.isolate else whole
        predictions = self.network(batch.inputs, segments=segments)
        return mean_horizon_loss(
            predictions, batch.labels, batch.loss_mask, segments=segments, delta=self.delta
        )

    def evaluate(self, batch: SequenceBatch | WindowBatch) -> dict[str, Tensor]:
        """Errors of the forecast of a table's windows, the training loss of sequences."""
        if isinstance(batch, WindowBatch):
            return super().evaluate(batch)
        return {"loss": self.sequence_loss(batch)}


def with_weights(network: TimeMoE | None, found: TimeMoE, folder: str) -> TimeMoE:
    """`network` with the weights of `found`; that one itself if there is no network.

    Raises:
        InputError: when their sizes differ.
    """
    if network is None:
        return found.train()
    ours, theirs = network.state_dict(), found.state_dict()
    wrong = [n for n in ours.keys() | theirs.keys() if shape(ours, n) != shape(theirs, n)]
    if wrong:
        name = min(wrong)
        raise InputError(
            f"the network does not have the sizes of {folder}: {name} has the shape "
            f"{shape(ours, name)} here and {shape(theirs, name)} there; leave the network out to "
            "take that one"
        )
    network.load_state_dict(theirs)
    return network


def shape(state: Mapping[str, Tensor], name: str) -> list[int] | None:
    return list(state[name].shape) if name in state else None
