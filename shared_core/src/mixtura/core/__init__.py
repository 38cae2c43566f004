"""The shared Mixture-of-Experts core: a routing decision is a value.

Public names are loaded when they are first used: `mixtura.core.errors` costs no import of torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixtura.core.configuration import ConfigError, configurable, from_config, to_config
    from mixtura.core.dispatch import Dispatch
    from mixtura.core.errors import InputError
    from mixtura.core.experts import Experts, GLUExperts, MLPExperts, ModuleExperts, StackedExperts
    from mixtura.core.layer import MoELayer
    from mixtura.core.losses import LoadBalance, Loss, load_balance
    from mixtura.core.record import Record, moe_layers, record_routing
    from mixtura.core.router import Router
    from mixtura.core.routing import Routing, combine
    from mixtura.core.scores import LinearScore, Score, Scored
    from mixtura.core.selections import Selection, TopK
    from mixtura.core.shared import SharedExpert
    from mixtura.core.statistics import LayerStatistics
    from mixtura.core.units import SampleUnits, SegmentUnits, TokenUnits, Units

_ROOMS = {
    "configuration": ("ConfigError", "configurable", "from_config", "to_config"),
    "dispatch": ("Dispatch",),
    "errors": ("InputError",),
    "experts": ("Experts", "GLUExperts", "MLPExperts", "ModuleExperts", "StackedExperts"),
    "layer": ("MoELayer",),
    "losses": ("LoadBalance", "Loss", "load_balance"),
    "record": ("Record", "moe_layers", "record_routing"),
    "router": ("Router",),
    "routing": ("Routing", "combine"),
    "scores": ("LinearScore", "Score", "Scored"),
    "selections": ("Selection", "TopK"),
    "shared": ("SharedExpert",),
    "statistics": ("LayerStatistics",),
    "units": ("SampleUnits", "SegmentUnits", "TokenUnits", "Units"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "ConfigError",
    "Dispatch",
    "Experts",
    "GLUExperts",
    "InputError",
    "LayerStatistics",
    "LinearScore",
    "LoadBalance",
    "Loss",
    "MLPExperts",
    "MoELayer",
    "ModuleExperts",
    "Record",
    "Router",
    "Routing",
    "SampleUnits",
    "Score",
    "Scored",
    "SegmentUnits",
    "Selection",
    "SharedExpert",
    "StackedExperts",
    "TokenUnits",
    "TopK",
    "Units",
    "combine",
    "configurable",
    "from_config",
    "load_balance",
    "moe_layers",
    "record_routing",
    "to_config",
]


def __getattr__(name: str) -> Any:
    """Import the room of a public name at its first use."""
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_ROOM_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
