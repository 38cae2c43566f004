"""The Lightning data module: all environments in one batch."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from mixtura.core import InputError, configurable
from mixtura.datasets.dynamics import DynamicsData, load_environments
from mixtura.dynamics.trajectories import Trajectories

__all__ = ["EnvironmentsDataModule"]


@dataclass
class Repeated(Dataset):
    """The same batch several times."""

    item: Trajectories
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Trajectories:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.item


@configurable
class EnvironmentsDataModule(pl.LightningDataModule):
    """Environments by name or from a user's files, every batch holding all of them.

    Args:
        name: `odebench4`, `odebench10`, `lotka_volterra`, `selkov`, `glycolytic`, `noisy_lorenz`,
            `lorenz63`, `rossler`, `synthetic_control`, or the path of a folder of CSV files (one
            per environment, or folders `train`, `test`, `ood_train`, `ood_test` of them), an .npz
            or a .ts file.
        stride: keep each so many-th sample.
        val_trajectories: training trajectories per environment that are held out for the choice of
            a checkpoint; with 0 the error of whole training trajectories decides.
        max_environments: keep the first so many environments; 0 keeps all.
        batches_per_epoch: outer steps that Lightning counts as one epoch.
        sub_intervals: train on a random part of each environment's trajectories that holds at least
            this share of their samples, drawn once (0: on all of them).
        sub_intervals_seed: of that draw.
    """

    def __init__(
        self,
        name: str = "odebench4",
        stride: int = 1,
        val_trajectories: int = 0,
        max_environments: int = 0,
        batches_per_epoch: int = 10,
        sub_intervals: float = 0.0,
        sub_intervals_seed: int = 0,
    ) -> None:
        super().__init__()
        if stride < 1 or batches_per_epoch < 1:
            raise InputError(
                f"stride and batches_per_epoch must be at least 1, got {stride} and "
                f"{batches_per_epoch}"
            )
        self.name, self.stride = name, stride
        self.val_trajectories, self.max_environments = val_trajectories, max_environments
        self.batches_per_epoch = batches_per_epoch
        self.sub_intervals, self.sub_intervals_seed = sub_intervals, sub_intervals_seed
        self._data: DynamicsData | None = None

    @property
    def data(self) -> DynamicsData:
        """The data set, read or generated when it is first asked for."""
        if self._data is None:
            assert self.name is not None
            data = load_environments(self.name).every(self.stride)
            if self.max_environments:
                data = data.first(self.max_environments)
            count = data.train.x.shape[1]
            if self.val_trajectories >= count:
                raise InputError(
                    f"{self.val_trajectories} of {count} training trajectories cannot be held "
                    f"out; lower val_trajectories to {count - 1} or less"
                )
            if self.val_trajectories and data.train.lengths is not None:
                raise InputError(
                    "trajectories of different lengths or numbers cannot be held out by their "
                    "number; set val_trajectories to 0"
                )
            self._data = data
        return self._data

    @property
    def train(self) -> Trajectories:
        """What is trained on."""
        count = self.data.train.x.shape[1] - self.val_trajectories
        kept = Trajectories.of(self.data.train.trajectories(slice(0, count)))
        if not self.sub_intervals:
            return kept
        generator = torch.Generator().manual_seed(self.sub_intervals_seed)
        return kept.sub_intervals(self.sub_intervals, generator)

    def train_dataloader(self) -> DataLoader:
        """The batch of all environments, `batches_per_epoch` times."""
        return self._loader(self.train, self.batches_per_epoch)

    def val_dataloader(self) -> DataLoader:
        """The trajectories held out; those of training, uncut, where none are."""
        count = self.data.train.x.shape[1] - self.val_trajectories
        kept = slice(count, None) if self.val_trajectories else slice(None)
        return self._loader(Trajectories.of(self.data.train.trajectories(kept)), 1)

    def test_dataloader(self) -> DataLoader:
        """The test trajectories of the known environments."""
        if self.data.test is None:
            raise InputError(
                f"{self.data.name} has no test split; name one that has, or use predict"
            )
        return self._loader(Trajectories.of(self.data.test), 1)

    def predict_dataloader(self) -> DataLoader:
        """The test trajectories, or those of training where there is no test split."""
        return self._loader(Trajectories.of(self.data.test or self.data.train), 1)

    def _loader(self, item: Trajectories, count: int) -> DataLoader:
        return DataLoader(Repeated(item, count), batch_size=None, shuffle=False)
