"""Sequences in everyday files: jsonl, json, npy, npy.gz, npz, yaml. Never pickle."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mixtura.core.errors import InputError
from mixtura.datasets.pretraining.reader import MemorySequences

__all__ = ["is_general_file", "is_pickle", "read_general_file"]

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def read_general_file(path: str | Path) -> MemorySequences:
    """The sequences of a file. An item is a list of numbers or `{"sequence": [...]}`.

    A two-dimensional array holds one sequence in each row, a one-dimensional one is one sequence.

    Raises:
        InputError: for a kind of file that is not read, a damaged file, or an item that is no
            sequence of numbers; pickles are refused because loading one can run any code.
    """
    path = Path(path)
    if is_pickle(path):
        raise InputError(
            f"{path} is a pickle, and loading one can run any code; save the sequences as .npy, "
            ".npz or .jsonl"
        )
    reader = reader_of(path)
    if reader is None:
        raise InputError(f"{path} is of no kind that is read ({', '.join(READERS)})")
    try:
        items = reader(path.read_bytes())
        arrays = [array for place, item in enumerate(items) for array in rows_of(item, place, path)]
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return MemorySequences(arrays, str(path))


def is_general_file(path: Path) -> bool:
    """Whether the name ends as one of the files that are read here."""
    return reader_of(path) is not None


def is_pickle(path: Path) -> bool:
    """Whether the name ends as that of a pickle."""
    return path.suffix.lower() in PICKLES


def reader_of(path: Path) -> Callable[[bytes], Iterator[Any]] | None:
    name = path.name.lower()
    endings = sorted(READERS, key=len, reverse=True)
    return next((READERS[ending] for ending in endings if name.endswith(ending)), None)


def rows_of(item: Any, place: int, path: Path) -> Iterator[np.ndarray]:
    if isinstance(item, dict):
        item = item.get("sequence")
    try:
        array = np.asarray(item, dtype=None if isinstance(item, np.ndarray) else np.float64)
        if array.dtype.kind not in "fiu" or array.ndim not in (1, 2):
            raise TypeError(f"found {array.dtype} of {array.ndim} dimensions")
    except (TypeError, ValueError) as error:
        raise InputError(
            f'item {place} of {path} should be a list of numbers or {{"sequence": [...]}}: {error}'
        ) from error
    yield from array if array.ndim == 2 else (array,)


def json_lines(content: bytes) -> Iterator[Any]:
    return (json.loads(line) for line in content.splitlines() if line.strip())


def json_list(content: bytes) -> Iterator[Any]:
    return items_of(json.loads(content))


def yaml_list(content: bytes) -> Iterator[Any]:
    import yaml

    try:
        return items_of(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def items_of(value: Any) -> Iterator[Any]:
    """The items of a document: a list of them, or a single one."""
    single = not isinstance(value, list) or (value and isinstance(value[0], int | float))
    return iter([value] if single else value)


def array(content: bytes) -> Iterator[Any]:
    yield np.load(io.BytesIO(content), allow_pickle=False)


def packed_array(content: bytes) -> Iterator[Any]:
    return array(gzip.decompress(content))


def arrays(content: bytes) -> Iterator[Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        for name in archive.files:
            yield archive[name]


READERS: dict[str, Callable[[bytes], Iterator[Any]]] = {
    ".jsonl": json_lines,
    ".json": json_list,
    ".npy": array,
    ".npy.gz": packed_array,
    ".npz": arrays,
    ".yaml": yaml_list,
    ".yml": yaml_list,
}
