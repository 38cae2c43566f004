"""The distributions of the workspace, read from their pyproject.toml files."""

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def named(requirement: str) -> str:
    """The normalised name of a requirement: `Torch>=2.11` gives `torch`."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@dataclass(frozen=True)
class Distribution:
    """One member of the workspace.

    Attributes:
        folder: Where its pyproject.toml lies.
    """

    folder: Path

    @cached_property
    def project(self) -> dict:
        """The `project` table."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text())["project"]

    @property
    def name(self) -> str:
        """The name in the registry."""
        return self.project["name"]

    @property
    def extras(self) -> dict[str, list[str]]:
        """The requirements of each extra."""
        return self.project.get("optional-dependencies", {})

    @property
    def declared(self) -> set[str]:
        """The names it declares, those of its extras too."""
        lists = [self.project["dependencies"], *self.extras.values()]
        return {named(requirement) for listed in lists for requirement in listed} - {self.name}

    @property
    def sources(self) -> list[Path]:
        """Its Python files."""
        return sorted((self.folder / "src").rglob("*.py"))

    @property
    def package(self) -> str | None:
        """What one imports: `mixtura.core`; None for the meta-package."""
        tops = [path for path in self.sources if path.name == "__init__.py"]
        if not tops:
            return None
        top = min(tops, key=lambda path: len(path.parts)).parent
        return ".".join(top.relative_to(self.folder / "src").parts)

    @property
    def room(self) -> str:
        """Its place in the house: root, shared_core, datasets, packages or apps."""
        parts = self.folder.relative_to(REPOSITORY).parts
        return parts[0] if parts else "root"


def workspace() -> list[Distribution]:
    """Every member, the meta-package at the root first."""
    root = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    folders = [
        path
        for pattern in root["tool"]["uv"]["workspace"]["members"]
        for path in sorted(REPOSITORY.glob(pattern))
        if (path / "pyproject.toml").is_file()
    ]
    return [Distribution(folder) for folder in (REPOSITORY, *folders)]
