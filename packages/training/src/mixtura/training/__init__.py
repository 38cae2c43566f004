"""The Lightning side of Mixtura: command line, modules, callbacks, sharing, pages, benchmarks.

Importing this package imports neither torch nor Lightning; its names are imported when asked for.
Sharing needs no Lightning: shared models load where the extra `train` is not installed.
"""

from importlib import import_module
from typing import Any

from mixtura.core.extras import brought_by as _brought_by
from mixtura.training.deferred import install as _install

_install()

_ROOMS = {
    "callbacks": ("Checkpoint", "GracefulStop", "RoutingMonitor", "RunSummary"),
    "checkpoint": ("CheckpointError", "read_checkpoint"),
    "checkpoint_io": ("VerifiedCheckpointIO",),
    "loading": ("ResumableLoader", "resumable"),
    "module": ("MoEModule", "NonFiniteError"),
    "optimisation": (
        "SGD",
        "AdamW",
        "Constant",
        "ExponentialByEpoch",
        "Optimizer",
        "Schedule",
        "TorchOptimizer",
        "WarmupCosine",
        "parameter_groups",
    ),
    "sharing.card": ("Card",),
    "sharing.folder": ("SharingError",),
    "sharing.mixin": ("Shared", "load_pretrained", "save_pretrained"),
    "trackio_logger": ("TrackioLogger",),
    "trainer": ("Trainer",),
}
_PUBLIC = {name: f"{__name__}.{room}" for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        with _brought_by("mixtura-training[train]", name):
            return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
