"""Any file or folder of sequences."""

import os
from pathlib import Path

from mixtura.core.errors import InputError
from mixtura.datasets.pretraining.binary import BinarySequences, is_binary_folder
from mixtura.datasets.pretraining.general import is_general_file, is_pickle, read_general_file
from mixtura.datasets.pretraining.reader import JoinedSequences, SequenceReader

__all__ = ["open_sequences"]


def open_sequences(path: str | Path) -> SequenceReader:
    """The sequences of a file, of a binary folder, or of a folder with any of them at any depth.

    A folder is walked by name; binary folders and files follow each other in that order.

    Raises:
        InputError: when there is nothing to read, a file is damaged, or one is a pickle.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return read_general_file(path)
    if not path.is_dir():
        raise InputError(f"there is no file or folder {path}; correct the path")
    readers: list[SequenceReader] = []
    for place, folders, files in os.walk(path):
        folders.sort()
        here = Path(place)
        if is_binary_folder(here):
            readers.append(BinarySequences(here))
            folders.clear()
            continue
        for name in sorted(files):
            if is_general_file(here / name) or is_pickle(here / name):
                readers.append(read_general_file(here / name))
    if not readers:
        raise InputError(
            f"{path} holds no sequences: no folder with meta.json and no .jsonl, .json, .npy, "
            ".npy.gz, .npz or .yaml file"
        )
    return readers[0] if len(readers) == 1 else JoinedSequences(readers)
