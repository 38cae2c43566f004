"""What is known of a data set: frozen records, no behaviour beyond looking into themselves.

A *file* is what a reader wants (`ETTh1.csv`); a *form* is one way in which it lies on a disk or
on a server (`ETTh1.csv.gz`, `ETTh1.csv`), each with its own size and sha256.
"""

from dataclasses import dataclass

__all__ = ["Archive", "DataFile", "Dataset", "Form"]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip file on a server that holds a form as one member."""

    url: str
    size: int
    """Bytes."""
    sha256: str
    member: str
    """Name of the wanted file inside the archive."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way in which a file lies on a disk, known byte for byte."""

    name: str
    """Path below the folder of its domain, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str
    url: str = ""
    """Public address of exactly these bytes; empty when there is none."""
    archive: Archive | None = None
    """Public archive that holds exactly these bytes."""

    @property
    def downloadable(self) -> bool:
        """Whether `mixtura-data get` can bring it."""
        return bool(self.url) or self.archive is not None


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A file of a data set, in any of its forms; the first form found is used."""

    name: str
    forms: tuple[Form, ...]

    @property
    def download(self) -> Form | None:
        """The form that can be downloaded, if any."""
        return next((form for form in self.forms if form.downloadable), None)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set by name: where it is from, under which terms, and how to know it byte for byte."""

    name: str
    domain: str
    """The domain package it serves; also the sub-folder that it is looked for in."""
    description: str
    licence: str
    citation: str
    origin: str
    preparation: str
    """How the files were made from what the origin offers."""
    files: tuple[DataFile, ...] = ()
    aliases: tuple[str, ...] = ()
    generator: str = ""
    """For a generated set: the function that makes it, as `module:name`; it has no files."""
    obtain: str = ""
    """For a set without a public address: one sentence that says where to get it."""

    @property
    def size(self) -> int:
        """Bytes of all files, each in its first form."""
        return sum(file.forms[0].size for file in self.files)

    @property
    def downloadable(self) -> bool:
        """Whether `mixtura-data get` can bring every file."""
        return bool(self.files) and all(file.download is not None for file in self.files)

    def file(self, name: str) -> DataFile:
        """The file called `name`.

        Raises:
            KeyError: when the set has no such file; names come from code, not from users.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(f"{self.name} has {[file.name for file in self.files]}, not {name!r}")
