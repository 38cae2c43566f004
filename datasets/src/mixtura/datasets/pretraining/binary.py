"""The binary folder of Time-300B: raw numbers in `data-i-of-n.bin`, described by `meta.json`.

Files are memory-mapped when they are first read, in each process for itself, so that a folder of
any size costs no memory and can be read by many workers.

References:
    Shi et al., Time-MoE: Billion-Scale Time Series Foundation Models with Mixture of Experts, ICLR
    2025, arXiv 2409.16040.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from mixtura.core.errors import InputError

__all__ = ["BinarySequences", "is_binary_folder", "write_binary_folder"]

META = "meta.json"


def is_binary_folder(folder: Path) -> bool:
    """Whether `folder` is described by a `meta.json`."""
    return (folder / META).is_file()


class BinarySequences:
    """The sequences of a binary folder; one may run across the end of a file into the next.

    A sequence with a mean and a deviation in `meta.json` is returned as `value * std + mean`.

    Args:
        folder: that holds `meta.json`.

    Raises:
        InputError: when `meta.json` is not what it should be, or a file is missing or has another
            size than it says.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        meta = read_meta(self.folder / META)
        self.dtype = np.dtype(meta["dtype"]).newbyteorder("<")
        self.files = sorted(meta["files"], key=number_in)
        counts = [int(meta["files"][name]) for name in self.files]
        self.firsts = np.cumsum([0, *counts])
        for name, count in zip(self.files, counts, strict=True):
            check_size(self.folder / name, count, self.dtype)
        scales = meta["scales"]
        self.offsets = np.array([scale["offset"] for scale in scales], dtype=np.int64)
        self.lengths = np.array([scale["length"] for scale in scales], dtype=np.int64)
        self.means, self.deviations = (
            np.array([scale_of(scale) for scale in scales]).reshape(-1, 2).T
        )
        self.check_extent(meta)
        self.maps: dict[int, np.ndarray] = {}

    def check_extent(self, meta: dict[str, Any]) -> None:
        """Refuse a description that points outside of the files."""
        if meta.get("num_sequences", len(self.lengths)) != len(self.lengths):
            raise InputError(
                f"{self.folder / META} says num_sequences {meta['num_sequences']}, but describes "
                f"{len(self.lengths)}; the file is damaged"
            )
        outside = (self.offsets < 0) | (self.offsets + self.lengths > self.firsts[-1])
        outside |= self.lengths < 0
        if outside.any():
            which = int(outside.argmax())
            raise InputError(
                f"sequence {which} of {self.folder} is said to be at {self.offsets[which]} with "
                f"{self.lengths[which]} points, but the files hold {self.firsts[-1]}; the folder "
                "is damaged"
            )

    def read(self, sequence: int, start: int, stop: int) -> Float[np.ndarray, " points"]:
        """See `SequenceReader`."""
        begin = self.offsets[sequence] + start
        end = self.offsets[sequence] + min(stop, self.lengths[sequence])
        which = int(np.searchsorted(self.firsts, begin, side="right")) - 1
        pieces = []
        while begin < end:
            first = self.firsts[which]
            piece = self.map(which)[begin - first : end - first]
            pieces.append(np.asarray(piece, dtype=np.float64))
            begin, which = begin + len(piece), which + 1
        points = np.concatenate(pieces) if pieces else np.zeros(0)
        return points * self.deviations[sequence] + self.means[sequence]

    def label(self, sequence: int) -> str:
        """See `SequenceReader`."""
        return f"sequence {sequence} of {self.folder}"

    def map(self, which: int) -> Shaped[np.ndarray, " points"]:
        """A file, mapped into memory."""
        if which not in self.maps:
            path = self.folder / self.files[which]
            self.maps[which] = np.memmap(path, dtype=self.dtype, mode="r")
        return self.maps[which]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "maps": {}}


def read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text())
        np.dtype(meta["dtype"])
        list(meta["files"].items())
        [(int(scale["offset"]), int(scale["length"])) for scale in meta["scales"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} should hold dtype, files with their numbers of points, and scales with offset "
            f"and length; {type(error).__name__}: {error}"
        ) from error
    if np.dtype(meta["dtype"]).kind not in "fiu":
        raise InputError(f"{path} should name a numeric dtype, found {meta['dtype']!r}")
    return meta


def scale_of(scale: dict[str, Any]) -> tuple[float, float]:
    """Mean and deviation to undo, both or none."""
    if scale.get("mean") is None or scale.get("std") is None:
        return 0.0, 1.0
    return float(scale["mean"]), float(scale["std"])


def number_in(name: str) -> int:
    """The number after the first hyphen: 2 in `data-2-of-4.bin`."""
    match = re.match(r"[^-]*-(\d+)", name)
    if match is None:
        raise InputError(f"a binary file should be called like data-1-of-4.bin, found {name!r}")
    return int(match.group(1))


def check_size(path: Path, count: int, dtype: np.dtype[Any]) -> None:
    expected = count * dtype.itemsize
    found = path.stat().st_size if path.is_file() else -1
    if found != expected:
        what = "is missing" if found < 0 else f"has {found} bytes"
        raise InputError(
            f"{path} {what}, expected {expected} bytes ({count} points of {dtype.name}); copy the "
            "folder again"
        )


def write_binary_folder(
    sequences: Iterable[Shaped[np.ndarray, " _"]],
    folder: str | Path,
    points_per_file: int = 1 << 28,
    dtype: str = "float32",
) -> Path:
    """Write sequences as a binary folder.

    Args:
        sequences: of numbers.
        folder: to make; it must not hold a `meta.json` yet.
        points_per_file: where files are cut, also in the middle of a sequence.
        dtype: of the numbers on disk.

    Raises:
        InputError: when the folder holds a `meta.json`.
    """
    folder = Path(folder)
    if is_binary_folder(folder):
        raise InputError(f"{folder} already holds a {META}; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [np.asarray(s, dtype=np.dtype(dtype).newbyteorder("<")) for s in sequences]
    points = np.concatenate(arrays) if arrays else np.zeros(0)
    parts = np.split(points, range(points_per_file, len(points), points_per_file))
    files = {}
    for number, part in enumerate(parts, start=1):
        name = f"data-{number}-of-{len(parts)}.bin"
        part.tofile(folder / name)
        files[name] = len(part)
    ends = np.cumsum([0, *map(len, arrays)])
    scales = [
        {"offset": int(offset), "length": len(array)}
        for offset, array in zip(ends, arrays, strict=False)
    ]
    meta = {"num_sequences": len(arrays), "dtype": dtype, "files": files, "scales": scales}
    (folder / META).write_text(json.dumps(meta))
    return folder
