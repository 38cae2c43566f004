"""Loaders: for training one that continues in mid-epoch with the very batches that were left."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

__all__ = ["ResumableLoader", "resumable", "test_batches"]

MULTIPLIER = 1_000_003


def resumable(loader: Any, num_replicas: int = 1, rank: int = 0) -> Any:
    """`loader` as a `ResumableLoader`; what has no order of its own (streams, lists) as it is."""
    if not isinstance(loader, DataLoader) or hasattr(loader, "state_dict"):
        return loader
    if isinstance(loader.dataset, IterableDataset):
        return loader
    return ResumableLoader(loader, num_replicas, rank)


def test_batches(data: Any) -> Iterable[Any]:
    """The test loader of a data module, the first if there are several."""
    data.prepare_data()
    data.setup("test")
    loader = data.test_dataloader()
    return loader[0] if isinstance(loader, list | tuple) else loader


class _EpochBatches:
    """The batches of indices of one epoch, from a position on."""

    def __init__(self, loader: DataLoader, num_replicas: int, rank: int) -> None:
        self.sampler: Any = loader.sampler
        self.batch_sampler: Any = loader.batch_sampler
        self.batch_size = loader.batch_size
        self.drop_last = loader.drop_last
        self.num_replicas = num_replicas
        self.rank = rank
        self.seed = int(os.environ.get("PL_GLOBAL_SEED") or 0)
        self.epoch = -1
        self.start = 0

    def batches(self) -> list[Any]:
        """Every batch of the current epoch; the same whenever it is asked for."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * MULTIPLIER + self.epoch)
            if self.batch_size is None:
                return list(self.batch_sampler if self.batch_sampler is not None else self.sampler)
            if isinstance(self.sampler, DistributedSampler):
                self.sampler.set_epoch(self.epoch)
                indices = list(self.sampler)
            else:
                indices = self._shard(list(self.sampler))
        size = self.batch_size
        end = len(indices) - len(indices) % size if self.drop_last else len(indices)
        return [indices[i : i + size] for i in range(0, end, size)]

    def _shard(self, indices: list[Any]) -> list[Any]:
        """This rank's share; the first indices are repeated so that all ranks have as many."""
        if self.num_replicas > 1 and indices:
            missing = -len(indices) % self.num_replicas
            indices += (indices * (missing // len(indices) + 1))[:missing]
        return indices[self.rank :: self.num_replicas]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches()[self.start :])

    def __len__(self) -> int:
        if self.batch_size is None:
            return len(self.batch_sampler if self.batch_sampler is not None else self.sampler)
        share = len(self.sampler)
        if not isinstance(self.sampler, DistributedSampler):
            share = -(-share // self.num_replicas)
        return share // self.batch_size if self.drop_last else -(-share // self.batch_size)


class ResumableLoader(Iterable[Any]):
    """Wraps a map-style `DataLoader`: the order of an epoch follows from the seed and its number.

    The position is kept in `state_dict`, which Lightning stores in each checkpoint. The wrapped
    loader's data set, batch size, sampler, workers and collation are used as they are; with several
    ranks each gets its share of one common order.

    Args:
        loader: The loader.
        num_replicas: Ranks that share the data.
        rank: Which of them this is.
    """

    def __init__(self, loader: DataLoader, num_replicas: int = 1, rank: int = 0) -> None:
        self.dataset = loader.dataset
        self.batch_size = loader.batch_size
        self._batches = _EpochBatches(loader, num_replicas, rank)
        self._generator = torch.Generator()
        self._given = 0
        self._resumed = False
        common: dict[str, Any] = {
            "num_workers": loader.num_workers,
            "collate_fn": loader.collate_fn,
            "pin_memory": loader.pin_memory,
            "timeout": loader.timeout,
            "worker_init_fn": loader.worker_init_fn,
            "multiprocessing_context": loader.multiprocessing_context,
            "generator": self._generator,
            "prefetch_factor": loader.prefetch_factor,
            "persistent_workers": loader.persistent_workers,
        }
        batched = loader.batch_size is not None or loader.batch_sampler is not None
        order: dict[str, Any] = (
            {"batch_sampler": self._batches}
            if batched
            else {"sampler": self._batches, "batch_size": None}
        )
        self._loader: DataLoader = DataLoader(loader.dataset, **order, **common)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        # Lightning stops after `len` batches without running what follows the last one, so an epoch
        # is counted when it begins.
        if self._resumed:
            self._resumed = False
        else:
            self._batches.epoch += 1
            self._given = 0
        self._batches.start = self._given
        self._generator.manual_seed(self._batches.seed * MULTIPLIER + self._batches.epoch)
        for batch in self._loader:
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Seed, epoch and how many of its samples were given out, on all ranks together."""
        samples = self._given * self._samples_per_batch
        return {"seed": self._batches.seed, "epoch": self._batches.epoch, "samples": samples}

    @property
    def _samples_per_batch(self) -> int:
        return (self.batch_size or 1) * self._batches.num_replicas

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the samples that were given out; at the end of an epoch, with the next.

        The number of ranks and the batch size may differ from those that the state was saved with.
        """
        self._batches.seed = state["seed"]
        self._batches.epoch = state["epoch"]
        self._given = min(state["samples"] // self._samples_per_batch, len(self))
        self._resumed = 0 < self._given < len(self)
