"""Where shared fixtures and data lie: environment first, else beside the repository."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parity_folder() -> Path | None:
    """`$MIXTURA_PARITY`, else `../shared/parity` of the repository; None if it is not there."""
    folder = Path(os.environ.get("MIXTURA_PARITY") or ROOT.parent / "shared" / "parity")
    return folder if folder.is_dir() else None


def data_folder() -> Path | None:
    """`$MIXTURA_DATA`, else `../shared/data` of the repository; None if it is not there."""
    folder = Path(os.environ.get("MIXTURA_DATA") or ROOT.parent / "shared" / "data")
    return folder if folder.is_dir() else None
