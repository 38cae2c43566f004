"""Training windows of a next-point model: inputs, and the same points one step later."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mixtura.core.errors import InputError
from mixtura.datasets.pretraining.normalisation import Normalisation, ZeroNormalisation
from mixtura.datasets.pretraining.reader import SequenceReader

__all__ = ["PackedWindows", "SequenceWindow", "SequenceWindows", "windows_of_length"]

SHORTEST = 2
"""Points that a sequence needs to have something to predict."""


class SequenceWindow(NamedTuple):
    """One window of `length` points."""

    inputs: Float[np.ndarray, " length"]
    labels: Float[np.ndarray, " length"]
    """The point after each input."""
    loss_mask: Int[np.ndarray, " length"]
    """1 where the label is a real point that follows its input."""
    segments: Int[np.ndarray, " length"]
    """Number of the sequence within the window that each input belongs to; -1 for padding."""


def windows_of_length(
    points: Int[np.ndarray, " sequences"], length: int, stride: int
) -> Int[np.ndarray, " sequences"]:
    """Windows in sequences of `points` points: the first always, later ones only if they are full.

    A window begins at 0, `stride`, 2 `stride`, ... as long as `length` inputs and the label of the
    last one fit; that at 0 exists even if they do not. Sequences of fewer than 2 points have none.
    """
    further = np.maximum((points - length - 1) // stride, 0)
    return np.where(points < SHORTEST, 0, 1 + further)


class NormalisedSequences:
    """Points of sequences, scaled by the whole sequence; centre and scale are found only once."""

    def __init__(self, reader: SequenceReader, normalisation: Normalisation) -> None:
        self.reader, self.normalisation = reader, normalisation
        self.shifts = np.full((len(reader.lengths), 2), np.nan)

    def read(self, sequence: int, start: int, stop: int) -> Float[np.ndarray, " points"]:
        """Scaled points `start` to `stop`, fewer at the end of the sequence.

        Raises:
            InputError: when the sequence holds a number that is not finite.
        """
        if np.isnan(self.shifts[sequence, 0]):
            whole = self.reader.read(sequence, 0, int(self.reader.lengths[sequence]))
            if not np.isfinite(whole).all():
                place = int(np.argmin(np.isfinite(whole)))
                raise InputError(
                    f"point {place} of {self.reader.label(sequence)} is {whole[place]}; remove or "
                    "fill such points before training"
                )
            self.shifts[sequence] = self.normalisation.shift(whole)
        centre, scale = self.shifts[sequence]
        stop = min(stop, int(self.reader.lengths[sequence]))
        return (self.reader.read(sequence, start, stop) - centre) / scale


class SequenceWindows:
    """Windows that each hold points of one sequence, padded on the right where it is too short.

    Args:
        reader: of the sequences.
        length: inputs in a window.
        stride: points between the beginnings of two windows; `length` if None.
        normalisation: of each sequence.

    Raises:
        InputError: when `length` or `stride` is below 1, or no sequence has two points.
    """

    def __init__(
        self,
        reader: SequenceReader,
        length: int = 1024,
        stride: int | None = None,
        normalisation: Normalisation | None = None,
    ) -> None:
        self.length = length
        self.stride = length if stride is None else stride
        check_sizes(length, self.stride)
        self.sequences = NormalisedSequences(reader, normalisation or ZeroNormalisation())
        counts = windows_of_length(reader.lengths, length, self.stride)
        self.ends = np.cumsum(counts)
        check_any(len(self), reader)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def window(self, number: int) -> SequenceWindow:
        """The window at a position between 0 and `len`."""
        sequence = int(np.searchsorted(self.ends, number, side="right"))
        before = int(self.ends[sequence - 1]) if sequence else 0
        start = (number - before) * self.stride
        points = self.sequences.read(sequence, start, start + self.length + 1)
        return padded(points, np.zeros(len(points), dtype=np.int64), self.length)


class PackedWindows:
    """Windows over all sequences laid end to end, so that nearly none is padded.

    The point after the last one of a sequence belongs to another sequence: with `mask_joints` it is
    no label, otherwise the model learns to predict it, as in plain packing. `segments` tells the
    sequences of a window apart for models that isolate their attention.

    Args:
        reader: of the sequences; those of fewer than two points are left out.
        length: inputs in a window.
        normalisation: of each sequence.
        mask_joints: leave labels across two sequences out of the loss.

    Raises:
        InputError: when `length` is below 1, or no sequence has two points.
    """

    def __init__(
        self,
        reader: SequenceReader,
        length: int = 1024,
        normalisation: Normalisation | None = None,
        mask_joints: bool = True,
    ) -> None:
        check_sizes(length, length)
        self.length, self.mask_joints = length, mask_joints
        self.sequences = NormalisedSequences(reader, normalisation or ZeroNormalisation())
        self.kept = np.flatnonzero(reader.lengths >= SHORTEST)
        self.ends = np.cumsum(reader.lengths[self.kept])
        check_any(len(self.kept), reader)

    def __len__(self) -> int:
        return -(-(int(self.ends[-1]) - 1) // self.length)

    def window(self, number: int) -> SequenceWindow:
        """The window at a position between 0 and `len`."""
        begin = number * self.length
        end = min(begin + self.length + 1, int(self.ends[-1]))
        place = int(np.searchsorted(self.ends, begin, side="right"))
        pieces = []
        while begin < end:
            sequence = int(self.kept[place])
            first = int(self.ends[place]) - int(self.sequences.reader.lengths[sequence])
            pieces.append(self.sequences.read(sequence, begin - first, end - first))
            begin, place = begin + len(pieces[-1]), place + 1
        owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        window = padded(np.concatenate(pieces), owners, self.length)
        if self.mask_joints:
            joints = np.flatnonzero(np.diff(owners))
            window.loss_mask[joints] = 0
        return window


def padded(points: np.ndarray, owners: np.ndarray, length: int) -> SequenceWindow:
    """Up to `length + 1` points as inputs and labels, with zeros where points are missing."""
    whole = np.zeros(length + 1)
    whole[: len(points)] = points
    mask = np.zeros(length, dtype=np.int64)
    mask[: max(len(points) - 1, 0)] = 1
    segments = np.full(length, -1, dtype=np.int64)
    segments[: min(len(points), length)] = owners[:length]
    return SequenceWindow(whole[:-1], whole[1:], mask, segments)


def check_sizes(length: int, stride: int) -> None:
    for name, value in (("length", length), ("stride", stride)):
        if value < 1:
            raise InputError(f"the {name} of windows must be at least 1 point, got {value}")


def check_any(found: int, reader: SequenceReader) -> None:
    if found < 1:
        raise InputError(
            f"no sequence has {SHORTEST} points or more ({len(reader.lengths)} sequences, longest "
            f"{max(reader.lengths, default=0)}), so there is nothing to predict; give longer ones"
        )
