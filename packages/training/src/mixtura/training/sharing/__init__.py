"""Sharing: a folder or a repository of the hub, a model card, programs for other runtimes."""

from importlib import import_module
from typing import Any

_ROOMS = {
    "card": ("Card", "references"),
    "export": ("export",),
    "folder": ("SharingError",),
    "mixin": ("Shared", "load_pretrained", "save_pretrained"),
    "programs": ("export_program",),
}
_PUBLIC = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Card",
    "Shared",
    "SharingError",
    "export",
    "export_program",
    "load_pretrained",
    "references",
    "save_pretrained",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
