"""MixER and its family: meta-learned reconstruction of hierarchies of dynamical systems.

Public names are loaded when they are first used.
"""

import importlib
from typing import Any

from mixtura.core.extras import brought_by

_ROOMS = {
    "adaptation": ("Adaptation", "Adapted"),
    "data": ("EnvironmentsDataModule",),
    "dynamix_module": ("DynaMixModule",),
    "dynamix": ("DynaMix", "InContextGate", "RecurrentExperts"),
    "evaluation": ("evaluate",),
    "excerpts": ("ContextsDataModule",),
    "experts": ("CAVIA", "CoDA", "GEPS", "NCF", "OfficialGEPS", "ShPLRNN", "VectorFields"),
    "fine_tuning": ("LowRankTuning",),
    "gate": (
        "ClosedFormGate",
        "ContextKMeans",
        "ContextScore",
        "ExpertCosts",
        "HardTop",
        "KMeansPlusPlus",
    ),
    "long_term": ("attractor_scores", "largest_exponent", "long_term_scores"),
    "mixer": ("MixER",),
    "module": ("DynamicsModule",),
    "reconstruction": ("Reconstruction",),
    "reconstructor": ("MixERReconstructor",),
    "solvers": ("AdaptiveTsit5", "Iteration", "RK4", "Solution", "Status", "TorchDiffEq", "Tsit5"),
    "training": (
        "AdaBelief",
        "CAVIATraining",
        "ForcedObjective",
        "GEPSTraining",
        "Objective",
        "PAM",
        "Recipe",
        "SequenceObjective",
        "Stage",
        "WindowedTraining",
    ),
    "trajectories": ("Trajectories",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = sorted(_ROOM_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import the room of a public name at its first use."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with brought_by("mixtura-dynamics[train]", name):
        value = getattr(importlib.import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
