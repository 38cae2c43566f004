"""The windows of several series as one source."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset

from mixtura.datasets.loading.batch import WindowBatch
from mixtura.datasets.loading.source import WindowSource

__all__ = ["JoinedWindows"]


class JoinedWindows(Dataset[WindowBatch]):
    """The windows of one source, then those of the next; a batch may hold windows of several.

    Args:
        sources: of series with the same variates and covariates; at least one.
    """

    def __init__(self, sources: Sequence[WindowSource]) -> None:
        self.sources = list(sources)
        self.ends = torch.tensor([len(source) for source in self.sources]).cumsum(0)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, numbers: Int[Tensor, " batch"]) -> WindowBatch:
        owner = torch.bucketize(numbers, self.ends, right=True)
        parts, places = [], []
        for number in owner.unique().tolist():
            source = self.sources[number]
            mine = (owner == number).nonzero().flatten()
            parts.append(source[numbers[mine] - (self.ends[number] - len(source))])
            places.append(mine)
        back = torch.cat(places).argsort()
        return WindowBatch(*(torch.cat(fields)[back] for fields in zip(*parts, strict=True)))
