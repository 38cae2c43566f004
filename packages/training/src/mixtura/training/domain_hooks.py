"""What a domain tells about its modules: for sharing, for the page of `inspect`, for means."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mixtura.core import Routing
from mixtura.training.loading import test_batches
from mixtura.training.sharing.card import Card

__all__ = ["DomainHooks"]


class DomainHooks:
    """The hooks of a LightningModule that a domain may override; each has a plain default."""

    network: nn.Module

    def batch_size(self, batch: Any) -> int:
        """How many samples `batch` holds: the weight of its figures in the epoch's mean."""
        leaf = batch
        while isinstance(leaf, Mapping | list | tuple):
            leaf = next(iter(leaf.values() if isinstance(leaf, Mapping) else leaf))
        return int(leaf.shape[0]) if isinstance(leaf, Tensor) and leaf.ndim else 1

    def shared(self, data: Any) -> nn.Module:
        """What `export` writes: the network, or the object that users call, built around it.

        Args:
            data: The data module of the training run, where the checkpoint knows it.
        """
        return self.network

    def card(self, data: Any) -> Card:
        """What the model card says besides what is measured: task, data, licence, citation."""
        name = getattr(data, "name", None)
        return Card(data=name if isinstance(name, str) else None)

    def tested(self, data: Any) -> bool:
        """Whether the data have a test split, which `export` measures for the card."""
        return True

    def inspected(self, data: Any) -> Iterable[Any]:
        """The batches that `inspect` looks at: those of the test split.

        Args:
            data: The data module of the training run.
        """
        return test_batches(data)

    def aspects(
        self, batch: Any, layer: str, routing: Routing
    ) -> Mapping[str, Sequence[Any] | Tensor]:
        """By what `inspect` sorts the units of a layer, besides their position: label, time, ...

        Args:
            batch: An evaluation batch.
            layer: Name of the layer.
            routing: Its routing of this batch.

        Returns:
            By aspect: one category for each of the routing's units, in order.
        """
        return {}

    def captions(self, batch: Any) -> Sequence[str]:
        """What `inspect` writes above the routing of each sample of a batch."""
        return [f"sample {number}" for number in range(self.batch_size(batch))]

    def pictures(self, data: Any, folder: Path) -> Mapping[str, Path]:
        """Further pictures for the page of `inspect`, at its end.

        Args:
            data: The data module of the training run.
            folder: Where PNG files are to be drawn.

        Returns:
            The files by title.
        """
        return {}
