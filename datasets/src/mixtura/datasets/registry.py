"""Data sets by name."""

from difflib import get_close_matches

from mixtura.datasets.catalogue import CATALOGUE
from mixtura.datasets.errors import UnknownDataset
from mixtura.datasets.records import Dataset

__all__ = ["dataset", "dataset_names"]


def plain(name: str) -> str:
    """The spelling in which names are compared: lower case, underscores as hyphens."""
    return name.lower().replace("_", "-")


KNOWN = {
    plain(name): dataset
    for dataset in CATALOGUE.values()
    for name in (dataset.name, *dataset.aliases)
}


def dataset_names(domain: str | None = None) -> tuple[str, ...]:
    """The names of all data sets, or of those that serve one domain."""
    return tuple(dataset.name for dataset in CATALOGUE.values() if domain in (None, dataset.domain))


def dataset(name: str) -> Dataset:
    """What is known of the data set `name` (case, `-` and `_` do not matter; aliases are known).

    Raises:
        UnknownDataset: with the nearest names.
    """
    found = KNOWN.get(plain(name))
    if found is None:
        near = [KNOWN[key].name for key in get_close_matches(plain(name), KNOWN, n=3, cutoff=0.5)]
        raise UnknownDataset(
            f"no data set is called {name!r}; "
            + (f"did you mean {', '.join(dict.fromkeys(near))}? " if near else "")
            + "`mixtura-data list` shows all names"
        )
    return found
