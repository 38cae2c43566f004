"""Loaders over a source of batches: one for training that can be resumed, one for evaluation."""

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mixtura.core.errors import InputError
from mixtura.datasets.loading.order import evaluation_batches, permutation, training_batches

__all__ = ["BatchSource", "EvaluationLoader", "TrainingLoader"]

Batch = TypeVar("Batch")
Gathered = TypeVar("Gathered", covariant=True)


@runtime_checkable
class BatchSource(Protocol[Gathered]):
    """Windows by number: `source[numbers]` is the batch of all of them."""

    def __len__(self) -> int:
        """Number of windows."""
        ...

    def __getitem__(self, numbers: Tensor, /) -> Gathered:
        """The batch of the windows with these numbers."""
        ...


def rank_and_ranks() -> tuple[int, int]:
    """This process and how many there are; one if torch.distributed is not running."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


class BatchLoader(Generic[Batch]):
    """What both loaders share: fetching batches by their numbers, in processes if asked for.

    Args:
        source: of the windows.
        batch_size: windows per batch and rank.
        num_workers: processes that gather; 0 gathers in this one, which is fast enough for most.
        pin_memory: for transfers to a GPU.
    """

    def __init__(
        self,
        source: BatchSource[Batch],
        batch_size: int,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1 window, got {batch_size}")
        self.source, self.batch_size = source, batch_size
        self.num_workers, self.pin_memory = num_workers, pin_memory

    def fetch(self, batches: list[Any]) -> Iterator[Batch]:
        """Gather the batches in order; the number of processes changes nothing but the speed."""
        return iter(
            DataLoader(
                cast("Dataset[Batch]", self.source),
                batch_size=None,
                sampler=[torch.from_numpy(numbers) for numbers in batches],
                num_workers=self.num_workers,
                pin_memory=self.pin_memory,
                # Its own, or each epoch would take a number from torch's global generator.
                generator=torch.Generator(),
            )
        )


class EvaluationLoader(BatchLoader[Batch]):
    """Every window once, in order, none dropped."""

    def __len__(self) -> int:
        return len(self.batches())

    def __iter__(self) -> Iterator[Batch]:
        return self.fetch(self.batches())

    def batches(self) -> list[Any]:
        """The numbers of the windows in each batch of this rank."""
        return evaluation_batches(len(self.source), self.batch_size, *rank_and_ranks())


class TrainingLoader(BatchLoader[Batch]):
    """Shuffled anew in each epoch, and resumable within an epoch.

    The order of an epoch depends on the seed and the number of the epoch only. `state_dict` says
    where the loader is; Lightning keeps it in checkpoints and gives it back.

    Args:
        source: of the windows.
        batch_size: windows per batch and rank.
        seed: of the order.
        num_workers: processes that gather.
        pin_memory: for transfers to a GPU.
    """

    def __init__(
        self,
        source: BatchSource[Batch],
        batch_size: int,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(source, batch_size, num_workers, pin_memory)
        self.seed = seed
        self.epoch, self.position = -1, 0
        self.resumed = False

    @property
    def step(self) -> int:
        """Windows that all ranks take together."""
        return self.batch_size * rank_and_ranks()[1]

    def __len__(self) -> int:
        return -(-len(self.source) // self.step)

    def __iter__(self) -> Iterator[Batch]:
        # The epoch advances here and not at the end: who counts batches never asks for the end.
        if not (self.resumed and self.position < len(self.source)):
            self.epoch, self.position = self.epoch + 1, 0
        self.resumed = False
        order = permutation(len(self.source), self.seed, self.epoch)[self.position :]
        for batch in self.fetch(training_batches(order, self.batch_size, *rank_and_ranks())):
            self.position = min(self.position + self.step, len(self.source))
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Where the loader is: plain numbers."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "step": self.step,
            "windows": len(self.source),
            "seed": self.seed,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where `state` was taken.

        Raises:
            InputError: when an epoch is half done and the data, the seed or the number of windows
                per step have changed, so that it cannot be continued.
        """
        here = self.state_dict()
        half_done = 0 < state["position"] < state["windows"]
        for key, name in (
            ("windows", "training windows"),
            ("step", "windows per step"),
            ("seed", "seed"),
        ):
            if half_done and state[key] != here[key]:
                raise InputError(
                    f"the checkpoint was written in the middle of an epoch with {state[key]} "
                    f"{name}, this run has {here[key]}; make them equal, or resume from the end "
                    "of an epoch"
                )
        finished = state["position"] >= state["windows"]
        self.epoch = state["epoch"]
        self.position = len(self.source) if finished else state["position"]
        self.resumed = state["epoch"] >= 0
