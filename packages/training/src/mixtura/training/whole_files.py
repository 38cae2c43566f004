"""Files that are written whole or not at all, with their SHA-256 beside them."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["digest", "sidecar", "write_whole"]

SUFFIX = ".sha256"
CHUNK = 1 << 20


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def sidecar(path: Path) -> Path:
    """The file that holds the SHA-256 of `path` (of what it points to, if it is a link)."""
    path = path.resolve() if path.is_symlink() else path
    return path.with_name(path.name + SUFFIX)


def write_whole(path: Path, write: Callable[[Path], Any], *, beside: bool = True) -> None:
    """Write a file so that, whenever the power fails, `path` is the old file or the new one, whole.

    `write(temporary_path)` produces the new content in the same folder. It is flushed to the disk
    and renamed over `path`. Meanwhile the SHA-256 beside it names the old and the new content.

    Args:
        path: The file.
        write: Writes the content to the path that it is given.
        beside: Keep the SHA-256 in a file beside it.

    Raises:
        OSError: when the folder cannot be written or is full; `path` is then as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.incomplete")
    hashes = sidecar(path)
    try:
        write(temporary)
        _flush(temporary)
        new = digest(temporary) if beside else ""
        old = hashes.read_text().split() if beside and path.exists() and hashes.exists() else []
        if beside:
            _replace(hashes, "".join(f"{each}\n" for each in [new, *old]))
        temporary.chmod(_mode())
        temporary.replace(path)
        _flush(path.parent)
        if old:
            _replace(hashes, f"{new}\n")
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _mode() -> int:
    """The permissions that a new file has here; some writers make theirs private."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sweep(path: Path) -> None:
    """Remove what a killed process left of a write of the same file."""
    for left in path.parent.glob(f".{path.name}.*incomplete"):
        owner = left.name.split(".")[-2]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc").is_dir():
            with suppress(OSError):
                left.unlink()


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.incomplete")
    try:
        temporary.write_text(text)
        _flush(temporary)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
