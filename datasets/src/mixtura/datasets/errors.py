"""What can be wrong with a data set that a user asked for."""

from mixtura.core.errors import InputError

__all__ = ["AlteredFile", "DownloadFailed", "InputError", "MissingFile", "UnknownDataset"]


class UnknownDataset(InputError):
    """A name that no registered data set has."""


class MissingFile(InputError):
    """A registered file that lies in none of the places that are searched."""


class AlteredFile(InputError):
    """A file whose size or sha256 is not the registered one."""


class DownloadFailed(InputError):
    """A download that could not be finished; nothing was left under the final name."""
