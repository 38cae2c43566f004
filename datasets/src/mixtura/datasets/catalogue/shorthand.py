"""Short ways to write the records of the catalogue."""

from mixtura.datasets.records import DataFile, Form

__all__ = ["ask_for_copy", "exact"]


def exact(name: str, size: int, sha256: str, url: str = "") -> DataFile:
    """A file that has one form only; a `.gz` form is offered to readers without the ending.

    Args:
        name: path below the domain's folder.
        size: bytes.
        sha256: of those bytes.
        url: public address of exactly these bytes.
    """
    form = Form(name=name, size=size, sha256=sha256, url=url)
    return DataFile(name=name.removesuffix(".gz"), forms=(form,))


def ask_for_copy(domain: str, where_from: str) -> str:
    """The sentence for a set whose files were prepared by us and lie at no public address."""
    return (
        f"no public address offers these exact files: take the originals from {where_from}, "
        f"prepare them as described, or copy prepared files into $MIXTURA_DATA/{domain}"
    )
