"""A tiny classifier with one MoE layer, and a tiny data module."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mixtura.core import (
    LinearScore,
    LoadBalance,
    MLPExperts,
    MoELayer,
    Router,
    TopK,
    configurable,
)
from mixtura.core.errors import InputError
from mixtura.training import MoEModule
from mixtura.training.optimisation import Optimizer, Schedule


@configurable
class ToyNetwork(nn.Module):
    """Norm, MoE layer, head.

    Args:
        dim: Width of the input.
        num_experts: Experts of the layer.
        top_k: Experts per sample.
        num_classes: Classes.
        dropout: Dropout behind the layer.
        balance: Weight of the load-balance loss.
    """

    def __init__(
        self,
        dim: int = 8,
        num_experts: int = 4,
        top_k: int = 2,
        num_classes: int = 3,
        dropout: float = 0.1,
        balance: float = 0.01,
    ) -> None:
        super().__init__()
        if top_k > num_experts:
            raise InputError(f"top_k must be at most num_experts ({num_experts}), got {top_k}")
        self.norm = nn.LayerNorm(dim)
        self.moe = MoELayer(
            Router(LinearScore(dim, num_experts), TopK(top_k)),
            MLPExperts(num_experts, dim, 16),
            losses=[LoadBalance(balance)] if balance else [],
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(x + self.moe(self.norm(x))))


class ToyModule(MoEModule):
    """Base of the toy app's modules."""


@configurable
class ToyClassifier(ToyModule):
    """Cross-entropy.

    Args:
        network: The network.
        optimizer: The optimiser.
        schedule: The schedule.
        smoothing: Label smoothing.
        nonfinite: What to do with a batch that is not finite.
    """

    def __init__(
        self,
        network: ToyNetwork,
        optimizer: Optimizer | None = None,
        schedule: Schedule | None = None,
        smoothing: float = 0.0,
        nonfinite: str = "raise",
    ) -> None:
        super().__init__(network, optimizer, schedule, nonfinite)
        self.smoothing = smoothing

    def task_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        x, label = batch
        logits = self.network(x)
        loss = nn.functional.cross_entropy(logits, label, label_smoothing=self.smoothing)
        return loss, {"accuracy": (logits.argmax(-1) == label).float().mean()}

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.network(batch[0]).argmax(-1)


@configurable
class ToyData(pl.LightningDataModule):
    """Points with labels, made from a seed.

    Args:
        num_samples: How many.
        dim: Width of a point.
        batch_size: Points per batch.
        nan_at: Index of a training point that is NaN.
    """

    def __init__(
        self,
        num_samples: int = 64,
        dim: int = 8,
        batch_size: int = 8,
        nan_at: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.num_samples = num_samples
        self.dim = dim
        self.batch_size_ = batch_size
        self.nan_at = nan_at
        self.num_workers = num_workers

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.num_samples, self.dim, generator=generator)
        label = (x[:, :3]).argmax(-1)
        if self.nan_at is not None:
            x[self.nan_at] = float("nan")
        self.train = TensorDataset(x, label)
        self.held_out = TensorDataset(x[-16:].nan_to_num(), label[-16:])

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size_, shuffle=True, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.held_out, batch_size=self.batch_size_)

    test_dataloader = val_dataloader
    predict_dataloader = val_dataloader
