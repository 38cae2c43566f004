"""What windows need from a collection of sequences."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

__all__ = ["JoinedSequences", "MemorySequences", "SequenceReader"]


@runtime_checkable
class SequenceReader(Protocol):
    """Sequences of numbers by position, any part of one at a time."""

    lengths: np.ndarray
    """Points in each sequence."""

    def read(self, sequence: int, start: int, stop: int) -> Float[np.ndarray, " points"]:
        """The points `start` to `stop` (excluded) of a sequence, float64."""
        ...

    def label(self, sequence: int) -> str:
        """What errors call a sequence: its file and its place in it."""
        ...


class MemorySequences:
    """Sequences that lie in memory, end to end in one array.

    Args:
        sequences: of numbers.
        name: what errors call them.
    """

    def __init__(self, sequences: Iterable[Shaped[np.ndarray, " _"]], name: str) -> None:
        arrays = list(sequences)
        self.name = name
        self.lengths = np.array([len(array) for array in arrays], dtype=np.int64)
        self.ends = np.cumsum(self.lengths)
        self.points = np.concatenate(arrays) if arrays else np.zeros(0)

    def read(self, sequence: int, start: int, stop: int) -> Float[np.ndarray, " points"]:
        """See `SequenceReader`."""
        begin = self.ends[sequence] - self.lengths[sequence]
        return np.asarray(self.points[begin + start : begin + stop], dtype=np.float64)

    def label(self, sequence: int) -> str:
        """See `SequenceReader`."""
        return f"sequence {sequence} of {self.name}"


class JoinedSequences:
    """Several collections, one after the other."""

    def __init__(self, readers: Sequence[SequenceReader]) -> None:
        self.readers = tuple(readers)
        self.lengths: Int[np.ndarray, " sequences"] = np.concatenate(
            [reader.lengths for reader in self.readers]
        )
        self.firsts = np.cumsum([0, *(len(reader.lengths) for reader in self.readers)])

    def find(self, sequence: int) -> tuple[SequenceReader, int]:
        """The collection that holds a sequence, and its place there."""
        which = int(np.searchsorted(self.firsts, sequence, side="right")) - 1
        return self.readers[which], sequence - int(self.firsts[which])

    def read(self, sequence: int, start: int, stop: int) -> Float[np.ndarray, " points"]:
        """See `SequenceReader`."""
        reader, place = self.find(sequence)
        return reader.read(place, start, stop)

    def label(self, sequence: int) -> str:
        """See `SequenceReader`."""
        reader, place = self.find(sequence)
        return reader.label(place)
