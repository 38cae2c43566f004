"""What is checked: a name, a way to build it small, and what it is excused from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from mixtura.core import moe_layers, record_routing
from mixtura.core.errors import InputError
from mixtura.core.testing import Registry

__all__ = ["DATA", "NETWORKS", "DataCase", "NetworkCase", "recorded", "tensors"]

BATCH = 4


def tensors(value: Any) -> list[Tensor]:
    """Every tensor of an output or a batch, however it is nested."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value):
        value = [getattr(value, one.name) for one in fields(value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in tensors(item)]
    return []


@contextmanager
def recorded(network: nn.Module) -> Iterator[Callable[[], dict[str, Tensor]]]:
    """A record of the routing where there is one; gives the auxiliary terms."""
    if not moe_layers(network):
        yield dict
        return
    with record_routing(network) as record:
        yield record.losses


def call_network(network: nn.Module, *inputs: Any) -> Any:
    """The forward pass."""
    return network(*inputs)


@dataclass
class NetworkCase:
    """A network to check.

    Args:
        name: As it appears in the tests' ids.
        build: A network of under 100,000 parameters, without dropout.
        inputs: (samples, generator) to the tensors that it is called with, samples first.
        shape: Number of samples to the shape of the output (of the first one, if several).
        call: (network, *inputs) to the output.
        samples_at: Dimension of the samples in inputs and output.
        idle: Names of parameters that no gradient reaches, each with the reason.
        hidden: (*inputs) to the inputs with other values where the network must not look; the
            outputs have to be the same. Without it nothing is hidden.
        visible: Where the output has to be the same, an index of it; everywhere if not given.
        exports: Whether `torch.export` takes it.
        rate: Learning rate with which 30 steps on one batch lower the loss by a fifth.
        excused: Names of checks that cannot hold, each with the reason.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, torch.Generator], tuple[Any, ...]]
    shape: Callable[[int], tuple[int, ...]]
    call: Callable[..., Any] = call_network
    samples_at: int = 0
    idle: Mapping[str, str] = field(default_factory=dict)
    hidden: Callable[..., tuple[Any, ...]] | None = None
    visible: Any = ...
    exports: bool = True
    rate: float = 0.01
    excused: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, reason in self.idle.items():
            if not reason:
                raise InputError(f"{self.name}: the parameter {name} is idle without a reason")

    def seeded(self, seed: int = 0) -> nn.Module:
        """A network whose parameters depend on the seed alone."""
        torch.manual_seed(seed)
        return self.build()

    def example(self, samples: int = BATCH, seed: int = 1) -> tuple[Any, ...]:
        """Inputs that depend on the seed alone."""
        return self.inputs(samples, torch.Generator().manual_seed(seed))

    def outputs(self, network: nn.Module, inputs: Sequence[Any]) -> list[Tensor]:
        """Every tensor that the network gives; the same under the same state and inputs."""
        torch.manual_seed(5)
        with recorded(network):
            return tensors(self.call(network, *inputs))

    def output(self, network: nn.Module, inputs: Sequence[Any]) -> Tensor:
        """The first of them."""
        return self.outputs(network, inputs)[0]


@dataclass
class DataCase:
    """A data module to check.

    Args:
        name: As it appears in the tests' ids.
        build: (folder for files, further arguments) to a small data module.
        identity: A batch to one hashable value per sample, different for different samples.
        splits: Loaders that hold different samples.
        seeded: Name of the argument that orders the training samples; None if nothing does.
        workers: Name of the argument for worker processes; None if there are none.
        repeats: Whether an epoch of training holds its samples several times.
        excused: Names of checks that cannot hold, each with the reason.
    """

    name: str
    build: Callable[..., pl.LightningDataModule]
    identity: Callable[[Any], list[Any]]
    splits: Sequence[str] = ("train", "val", "test")
    seeded: str | None = "seed"
    workers: str | None = "num_workers"
    repeats: bool = False
    excused: Mapping[str, str] = field(default_factory=dict)

    def ready(self, folder: Path, **arguments: Any) -> pl.LightningDataModule:
        """A data module set up for everything."""
        data = self.build(folder, **arguments)
        data.prepare_data()
        for stage in ("fit", "validate", "test"):
            data.setup(stage)
        return data

    def batches(self, data: pl.LightningDataModule, split: str) -> list[Any]:
        """Every batch of a split."""
        return list(getattr(data, f"{split}_dataloader")())

    def samples(self, data: pl.LightningDataModule, split: str) -> list[Any]:
        """Every sample of a split, in order."""
        return [one for batch in self.batches(data, split) for one in self.identity(batch)]


NETWORKS: Registry[NetworkCase] = Registry()
DATA: Registry[DataCase] = Registry()
