"""Reading files that are known byte for byte.

The digest is taken from the very bytes that are handed out, at every opening. Nothing is remembered
between openings: sizes and times of change can be the same for different bytes.
"""

import gzip
import hashlib
from pathlib import Path

from mixtura.datasets.errors import AlteredFile, MissingFile
from mixtura.datasets.places import locate, remedy
from mixtura.datasets.records import DataFile, Dataset, Form
from mixtura.datasets.registry import dataset as find_dataset

__all__ = ["check_file", "data_path", "read_data", "sha256_of"]

BLOCK = 1 << 20


def read_data(name: str, file: str | None = None) -> bytes:
    """The bytes of a file of the data set `name`, verified, without gzip if the file lies so.

    Args:
        name: of the data set.
        file: name of the file; may be left out for a data set of one file.

    Raises:
        UnknownDataset: for a name that is not registered.
        MissingFile: when the file is in none of the places.
        AlteredFile: when its size or sha256 is not the registered one.
    """
    dataset, wanted = file_of(name, file)
    form, path = locate(dataset, wanted)
    content = read(path)
    check_content(dataset, form, path, len(content), hashlib.sha256(content).hexdigest())
    return gzip.decompress(content) if form.name == f"{wanted.name}.gz" else content


def data_path(name: str, file: str | None = None) -> Path:
    """The path of a file of the data set `name`, after its content was verified.

    For readers that want a path or a memory map (parquet, zip, npz); arguments and errors are those
    of `read_data`. The file may be compressed: look at its ending.
    """
    dataset, wanted = file_of(name, file)
    form, path = locate(dataset, wanted)
    check_file(dataset, form, path)
    return path


def check_file(dataset: Dataset, form: Form, path: Path) -> None:
    """Compare a file with what is registered.

    Raises:
        AlteredFile: naming the file, what was expected, what was found and what to do.
    """
    digest, size = sha256_of(path)
    check_content(dataset, form, path, size, digest)


def sha256_of(path: Path) -> tuple[str, int]:
    """The sha256 of a file and its size in bytes, read in blocks."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest(), size


def check_content(dataset: Dataset, form: Form, path: Path, size: int, sha256: str) -> None:
    if size == form.size and sha256 == form.sha256:
        return
    if size < form.size:
        what = f"is cut short: expected {form.size} bytes, found {size}"
    elif size > form.size:
        what = f"is too long: expected {form.size} bytes, found {size}"
    else:
        what = f"was altered: expected sha256 {form.sha256[:16]}..., found {sha256[:16]}..."
    raise AlteredFile(f"{path} {what}; delete it, then {remedy(dataset)}")


def file_of(name: str, file: str | None) -> tuple[Dataset, DataFile]:
    dataset = find_dataset(name)
    if not dataset.files:
        raise MissingFile(f"{dataset.name} is generated and has no files; call {dataset.origin}()")
    if file is None:
        if len(dataset.files) != 1:
            raise KeyError(f"{dataset.name} has several files: {[f.name for f in dataset.files]}")
        return dataset, dataset.files[0]
    return dataset, dataset.file(file)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> MissingFile:
    return MissingFile(f"{path} cannot be read ({error.strerror}); check its permissions")
