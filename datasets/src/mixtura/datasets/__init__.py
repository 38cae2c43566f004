"""Data sets by name: licence, checksum, origin; readers, windows, generators and Lightning modules.

Names are loaded when they are first used: `import mixtura.datasets` and `mixtura-data` need neither
numpy nor torch.
"""

# ruff: noqa: F401 (the imports below are for type checkers)

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixtura.datasets.errors import (
        AlteredFile,
        DownloadFailed,
        InputError,
        MissingFile,
        UnknownDataset,
    )
    from mixtura.datasets.places import cache_folder, locate, search_places
    from mixtura.datasets.records import Archive, DataFile, Dataset, Form
    from mixtura.datasets.registry import dataset, dataset_names
    from mixtura.datasets.verification import check_file, data_path, read_data

HOMES = {
    "errors": ("AlteredFile", "DownloadFailed", "InputError", "MissingFile", "UnknownDataset"),
    "places": ("cache_folder", "locate", "search_places"),
    "records": ("Archive", "DataFile", "Dataset", "Form"),
    "registry": ("dataset", "dataset_names"),
    "verification": ("check_file", "data_path", "read_data"),
}
"""File of this package -> the public names that it holds."""

HOME_OF = {name: home for home, names in HOMES.items() for name in names}

__all__ = sorted(HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
