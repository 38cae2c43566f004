"""Data for DynaMix: random contexts of many systems, and what follows them."""

from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mixtura.core import InputError, configurable
from mixtura.datasets.dynamics import load_environments

__all__ = ["ContextsDataModule", "Excerpt"]


@dataclass
class Excerpt:
    """Observed contexts and what follows them, standardised by the context.

    Attributes:
        context: what the gate looks at.
        x: what is to be continued; it begins where the context ends.
        dt: time between samples.
    """

    context: Float[Tensor, "frames units obs"]
    x: Float[Tensor, "times units obs"]
    dt: float

    def to(self, device: torch.device | str) -> "Excerpt":
        """On another device."""
        return Excerpt(self.context.to(device), self.x.to(device), self.dt)


@dataclass
class Excerpts(Dataset):
    """Random excerpts of trajectories (environments, trajectories, times, dims)."""

    x: Tensor
    dt: float
    context: int
    steps: int
    units: int
    batches: int
    seed: int
    noise: float = 0.0

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Excerpt:
        if not 0 <= index < self.batches:
            raise IndexError(index)
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        flat = self.x.flatten(0, 1)
        length = self.context + self.steps
        which = torch.randint(len(flat), (self.units,), generator=random)
        begin = torch.randint(flat.shape[1] - length + 1, (self.units,), generator=random)
        places = begin[:, None] + torch.arange(length)
        pieces = flat[which[:, None], places].transpose(0, 1)
        context = pieces[: self.context]
        mean, deviation = context.mean(0), context.std(0).clamp_min(1e-8)
        standard = (pieces - mean) / deviation
        standard = standard + self.noise * torch.randn(standard.shape, generator=random)
        return Excerpt(standard[: self.context], standard[self.context - 1 :], self.dt)


@configurable
class ContextsDataModule(pl.LightningDataModule):
    """Random excerpts of long trajectories: contexts, and what follows them.

    Args:
        name: What `load_environments` takes, or several names of equal dimensions. The long run of
            a data set is used where it has one, else its training trajectories. The last fifth of
            every trajectory is kept for validation and test.
        context: Frames of a context.
        steps: Samples to continue in training.
        horizon: Samples to continue in validation and test.
        batch_size: Excerpts at once.
        batches_per_epoch: Batches of an epoch.
        noise: Standard deviation of what is added to standardised training excerpts.
        seed: Of the draws.
    """

    def __init__(
        self,
        name: str | list[str] = "lorenz63",
        context: int = 400,
        steps: int = 50,
        horizon: int = 500,
        batch_size: int = 16,
        batches_per_epoch: int = 50,
        noise: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if context < 2 or steps < 2 or horizon < 2:
            raise InputError(
                "context, steps and horizon must be at least 2, got "
                f"{context}, {steps} and {horizon}"
            )
        self.names = [name] if isinstance(name, str) else list(name)
        self.context, self.steps, self.horizon = context, steps, horizon
        self.batch_size, self.batches_per_epoch = batch_size, batches_per_epoch
        self.noise, self.seed = noise, seed
        self._parts: dict[str, tuple[Tensor, float]] = {}

    def parts(self) -> dict[str, tuple[Tensor, float]]:
        """Trajectories to train on and to test on, each with the time between samples."""
        if self._parts:
            return self._parts
        names = self.names
        series, dt = [], 1.0
        for name in names:
            data = load_environments(name)
            split = data.train if data.long is None else data.long
            if split.lengths is not None:
                raise InputError(
                    f"excerpts are drawn from trajectories of one length, those of {name} have "
                    f"{split.lengths.min()} to {split.lengths.max()} samples; cut them"
                )
            series.append(torch.as_tensor(split.x, dtype=torch.float32).flatten(0, 1))
            dt = float(split.t[0, 1] - split.t[0, 0])
        length = min(s.shape[1] for s in series)
        if len({s.shape[2] for s in series}) > 1:
            raise InputError(
                f"{', '.join(names)} have different state dimensions; train on one kind at a time"
            )
        cut = length - length // 5
        for what, size, room in (
            ("context + steps", self.context + self.steps, cut),
            ("context + horizon", self.context + self.horizon, length),
        ):
            if size > room:
                raise InputError(
                    f"{what} is {size} samples, the trajectories of {', '.join(names)} offer "
                    f"{room}; shorten them"
                )
        whole = torch.cat([s[:, :length] for s in series])[:, None]
        late = max(cut - self.context, 0)
        late = min(late, length - self.context - self.horizon)
        self._parts = {"train": (whole[:, :, :cut], dt), "test": (whole[:, :, late:], dt)}
        return self._parts

    def train_dataloader(self) -> DataLoader:
        """New excerpts in every epoch."""
        x, dt = self.parts()["train"]
        epoch = 0 if self.trainer is None else self.trainer.current_epoch
        items = Excerpts(
            x,
            dt,
            self.context,
            self.steps,
            self.batch_size,
            self.batches_per_epoch,
            self.seed + 1 + epoch,
            self.noise,
        )
        return DataLoader(items, batch_size=None, shuffle=False)

    def val_dataloader(self) -> DataLoader:
        """Continuations of the last part."""
        x, dt = self.parts()["test"]
        items = Excerpts(x, dt, self.context, self.horizon, 4, 1, 0)
        return DataLoader(items, batch_size=None, shuffle=False)

    def test_dataloader(self) -> DataLoader:
        """The same as for validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader:
        """The same as for validation."""
        return self.val_dataloader()
