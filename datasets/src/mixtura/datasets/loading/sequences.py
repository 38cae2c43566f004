"""The Lightning data module for next-point models such as Time-MoE."""

from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from mixtura.core import configurable
from mixtura.core.errors import InputError
from mixtura.datasets.loading.loader import EvaluationLoader, TrainingLoader
from mixtura.datasets.ltsf.benchmarks import benchmark, load_series
from mixtura.datasets.pretraining.folder import open_sequences
from mixtura.datasets.pretraining.normalisation import (
    MaxNormalisation,
    NoNormalisation,
    Normalisation,
    ZeroNormalisation,
)
from mixtura.datasets.pretraining.reader import MemorySequences, SequenceReader
from mixtura.datasets.pretraining.windows import PackedWindows, SequenceWindows

__all__ = ["SequenceBatch", "SequenceDataModule", "SequenceSource"]

NORMALISATIONS: dict[str, type[Normalisation]] = {
    "zero": ZeroNormalisation,
    "max": MaxNormalisation,
    "none": NoNormalisation,
}


class SequenceBatch(NamedTuple):
    """Windows of sequences; see `SequenceWindow`."""

    inputs: Float[Tensor, "batch length"]
    labels: Float[Tensor, "batch length"]
    loss_mask: Int[Tensor, "batch length"]
    segments: Int[Tensor, "batch length"]
    index: Int[Tensor, " batch"]
    """Numbers of the windows."""


class SequenceSource(Dataset[SequenceBatch]):
    """Batches of windows by their numbers."""

    def __init__(self, windows: SequenceWindows | PackedWindows) -> None:
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, numbers: Int[Tensor, " batch"]) -> SequenceBatch:
        chosen = [self.windows.window(int(number)) for number in numbers]
        inputs, labels, mask, segments = (np.stack(column) for column in zip(*chosen, strict=True))
        return SequenceBatch(
            inputs=torch.from_numpy(inputs.astype(np.float32)),
            labels=torch.from_numpy(labels.astype(np.float32)),
            loss_mask=torch.from_numpy(mask),
            segments=torch.from_numpy(segments),
            index=numbers,
        )


@configurable
class SequenceDataModule(pl.LightningDataModule):
    """Windows of many sequences: a file, a folder, a Time-300B folder, or a registered set.

    Of a registered set each variate is a sequence: its training rows train, and the rows of its
    validation part validate.

    Args:
        path: of a file or folder of sequences; null to use `name`.
        name: a registered forecasting set, used without `path`.
        val_path: of sequences to validate on; null for none (with `path`).
        max_length: inputs in a window.
        stride: points between the beginnings of two windows; `max_length` if null.
        packing: lay sequences end to end instead of padding short ones.
        mask_joints: with packing, leave labels across two sequences out of the loss.
        normalisation: of each whole sequence.
        batch_size: windows per batch and device.
        seed: of the order of training windows.
        num_workers: processes that read.
        pin_memory: for transfers to a GPU.

    Raises:
        InputError: when something of this cannot be.
    """

    def __init__(
        self,
        path: str | None = None,
        name: str = "ETTh1",
        val_path: str | None = None,
        max_length: int = 1024,
        stride: int | None = None,
        packing: bool = False,
        mask_joints: bool = True,
        normalisation: Literal["zero", "max", "none"] = "zero",
        batch_size: int = 16,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        if packing and stride not in (None, max_length):
            raise InputError(
                f"packed windows do not overlap, so stride must be {max_length} or null, got "
                f"{stride}"
            )
        if path is None:
            benchmark(name)
        self.path, self.dataset, self.val_path = path, name, val_path
        self.max_length, self.stride = max_length, stride
        self.packing, self.mask_joints = packing, mask_joints
        self.normalisation = NORMALISATIONS[normalisation]()
        self.batch_size, self.seed = batch_size, seed
        self.num_workers, self.pin_memory = num_workers, pin_memory

    @cached_property
    def train_sequences(self) -> SequenceReader:
        """What is trained on."""
        return open_sequences(self.path) if self.path is not None else self.variates("train")

    @cached_property
    def val_sequences(self) -> SequenceReader | None:
        """What is validated on, if anything."""
        if self.val_path is not None:
            return open_sequences(self.val_path)
        return None if self.path is not None else self.variates("val")

    def variates(self, part: Literal["train", "val"]) -> MemorySequences:
        """The columns of one part of the registered set, each a sequence."""
        table = load_series(self.dataset)
        rows = getattr(benchmark(self.dataset).split.borders(table.rows, 0), part)
        columns = table.values[slice(*rows)].T
        return MemorySequences(list(columns), f"{table.name} ({part})")

    def windows(self, reader: SequenceReader) -> SequenceSource:
        """Windows of sequences by the options of this module."""
        if self.packing:
            return SequenceSource(
                PackedWindows(reader, self.max_length, self.normalisation, self.mask_joints)
            )
        return SequenceSource(
            SequenceWindows(reader, self.max_length, self.stride, self.normalisation)
        )

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled; resumable within an epoch."""
        return TrainingLoader(
            self.windows(self.train_sequences),
            self.batch_size,
            seed=self.seed,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )

    def val_dataloader(self) -> EvaluationLoader | list[EvaluationLoader]:
        """Every validation window once, in order; an empty list when there is nothing."""
        if self.val_sequences is None:
            return []
        return EvaluationLoader(
            self.windows(self.val_sequences),
            self.batch_size,
            num_workers=self.num_workers,
            pin_memory=self.pin_memory,
        )
