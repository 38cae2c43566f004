"""A folder for each run: `ROOT/NAME/0`, `ROOT/NAME/1`, ...; two runs never share one."""

import os
from pathlib import Path

from mixtura.core.errors import InputError

__all__ = ["claim", "release"]

CLAIMED = "MIXTURA_RUN_FOLDER"
LIMIT = 100_000


def claim(root: Path, name: str, verb: str = "fit") -> Path:
    """Make the next free folder of a run and return it; the making is what claims it.

    The other processes of a distributed run inherit the choice through the environment.

    Args:
        root: Folder of all runs.
        name: The run's name.
        verb: What is run; only training runs have bare numbers, `test` makes `test-0`.

    Raises:
        InputError: when the folder cannot be written.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0" and os.environ.get(CLAIMED):
        return Path(os.environ[CLAIMED])
    prefix = "" if verb == "fit" else f"{verb}-"
    folder = root / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(_next(folder, prefix), LIMIT):
            try:
                (folder / f"{prefix}{number}").mkdir()
            except FileExistsError:
                continue
            chosen = folder / f"{prefix}{number}"
            os.environ[CLAIMED] = str(chosen)
            return chosen
    except OSError as error:
        raise InputError(
            f"cannot write the run's files below {folder}: {error.strerror}; "
            "choose another folder with --trainer.default_root_dir"
        ) from error
    raise InputError(f"{folder} holds {LIMIT} runs; choose another --trainer.default_root_dir")


def release() -> None:
    """Give the claimed folder back if nothing was written: a refused command leaves no trace."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    folder = Path(os.environ.pop(CLAIMED, ""))
    if folder.name and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _next(folder: Path, prefix: str) -> int:
    numbers = (p.name.removeprefix(prefix) for p in folder.iterdir() if p.name.startswith(prefix))
    return max((int(number) for number in numbers if number.isdigit()), default=-1) + 1
