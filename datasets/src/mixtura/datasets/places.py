"""Where files are looked for: the user's folder, then the cache, then the embedded samples."""

import os
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from mixtura.datasets.errors import MissingFile
from mixtura.datasets.records import DataFile, Dataset, Form

__all__ = ["cache_folder", "embedded_folder", "found_files", "locate", "search_places"]

VARIABLE = "MIXTURA_DATA"


def cache_folder() -> Path:
    """`$MIXTURA_CACHE`, else the folder `mixtura` in the user's cache of this platform."""
    chosen = os.environ.get("MIXTURA_CACHE")
    return Path(chosen).expanduser() if chosen else user_cache_path("mixtura", appauthor=False)


def embedded_folder() -> Path | None:
    """Samples that lie in the repository; None for who installed a wheel, which holds none."""
    folder = Path(__file__).resolve().parents[3] / "embedded"
    return folder if folder.is_dir() and (folder.parent / "pyproject.toml").is_file() else None


def search_places() -> tuple[Path, ...]:
    """The folders that are searched, first to last.

    Raises:
        MissingFile: when `$MIXTURA_DATA` names no folder.
    """
    places = []
    if chosen := os.environ.get(VARIABLE):
        folder = Path(chosen).expanduser()
        if not folder.is_dir():
            raise MissingFile(
                f"${VARIABLE} should name a folder, but {folder} is none; correct or unset it"
            )
        places.append(folder)
    places.append(cache_folder())
    if embedded := embedded_folder():
        places.append(embedded)
    return tuple(places)


def candidates(dataset: Dataset, file: DataFile) -> Iterator[tuple[Form, Path]]:
    for place in search_places():
        for form in file.forms:
            yield form, place / dataset.domain / form.name
            yield form, place / form.name


def found_files(dataset: Dataset, file: DataFile) -> tuple[tuple[Form, Path], ...]:
    """Every copy of `file` that exists, the preferred one first; nothing is verified."""
    return tuple((form, path) for form, path in candidates(dataset, file) if path.is_file())


def locate(dataset: Dataset, file: DataFile) -> tuple[Form, Path]:
    """The form and path of `file` in the first place that has it; nothing is verified.

    Raises:
        MissingFile: naming the file, the places and what to do.
    """
    for form, path in found_files(dataset, file):
        return form, path
    raise missing_file(dataset, file)


def missing_file(dataset: Dataset, file: DataFile) -> MissingFile:
    """The error that names the file, the places and what to do."""
    return MissingFile(
        f"{dataset.name} needs {file.forms[0].name}, which lies in none of "
        f"{', '.join(str(place) for place in search_places())}; {remedy(dataset)}"
    )


def remedy(dataset: Dataset) -> str:
    """What to do when a file of the data set is not there."""
    if dataset.downloadable:
        return f"run `mixtura-data get {dataset.name}` or set ${VARIABLE} to a folder that has it"
    return dataset.obtain or f"set ${VARIABLE} to a folder that has it"
