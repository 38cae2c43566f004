"""Packaged YAML files by name: `segmoe/etth1-96` is `configs/segmoe/etth1-96.yaml` of the app."""

from difflib import get_close_matches
from pathlib import Path

from mixtura.training.cli.mistakes import Mistake

__all__ = ["available", "describe", "find", "nearest"]

SUFFIXES = (".yaml", ".yml")
FEW = 5


def available(folder: Path) -> dict[str, Path]:
    """Name to path of every YAML file below `folder`, sorted by name."""
    if not folder.is_dir():
        return {}
    found = (path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(found)}


def describe(path: Path) -> str:
    """The first comment line of a YAML file."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def nearest(name: str, names: list[str], count: int = 3) -> list[str]:
    """The names most like `name`: close spellings first, then those that share a part with it."""
    close = get_close_matches(name, names, n=count, cutoff=0.5)
    parts = [part for part in name.replace("-", "/").split("/") if len(part) > 2]
    related = [each for each in names if each not in close and any(p in each for p in parts)]
    return [*close, *related][:count]


def find(name: str, folder: Path, kind: str, program: str) -> Path:
    """The file meant by `name`: a path that exists, or a packaged name.

    Raises:
        Mistake: when it is neither; the nearest names are offered.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    names = available(folder)
    if name in names:
        return names[name]
    if path.is_dir():
        raise Mistake(f"{name} is a folder, and a {kind} is a YAML file", "name a file in it")
    if path.suffix in SUFFIXES:
        stem = path.with_suffix("").as_posix()
        if stem in names:
            return names[stem]
    files = sorted(each.name for each in path.parent.glob("*") if each.suffix in SUFFIXES)
    beside = [str(path.with_name(each)) for each in get_close_matches(path.name, files)]
    near = [*beside, *nearest(name, list(names))][:3]
    if near:
        hint = f"the nearest names are {', '.join(near)}"
    elif len(names) <= FEW:
        hint = f"there are {', '.join(names)}"
    else:
        hint = f"there are {len(names)} of them"
    raise Mistake(
        f"there is no {kind} {name!r}, neither packaged nor as a file; {hint}",
        f"`{program} configs` lists them all" if kind == "configuration" else "",
    )
