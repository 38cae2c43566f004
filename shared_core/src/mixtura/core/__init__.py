"""The shared Mixture-of-Experts core: a routing decision is a value.

Public names are loaded when they are first used: `mixtura.core.errors` costs no import of torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixtura.core.adjustments import (
        Adjustment,
        BalanceBias,
        GatePro,
        GroupLimit,
        GumbelNoise,
        Sinkhorn,
        sinkhorn,
    )
    from mixtura.core.chain import Chain
    from mixtura.core.choice import Choice
    from mixtura.core.configuration import ConfigError, configurable, from_config, to_config
    from mixtura.core.controllers import BiasBalance, Controller
    from mixtura.core.dispatch import Dispatch
    from mixtura.core.edits import (
        ChooseK,
        ChooseRanks,
        Edit,
        Forbid,
        ForceMembers,
        MultiplyWeights,
        OffsetLogits,
        OverrideScores,
        Replay,
        edit_routing,
        routers,
    )
    from mixtura.core.errors import InputError
    from mixtura.core.experts import (
        DeepMLPExperts,
        ExpertGroups,
        Experts,
        GLUExperts,
        LoRAExperts,
        MLPExperts,
        ModuleExperts,
        StackedExperts,
    )
    from mixtura.core.layer import MoELayer
    from mixtura.core.losses import (
        ActiveScores,
        CapacityPrediction,
        LoadBalance,
        Loss,
        MutualInformation,
        RouterZ,
        RoutingContrastive,
        active_scores,
        capacity_prediction,
        load_balance,
        mutual_information,
        router_z,
        routing_contrastive,
    )
    from mixtura.core.precise import PreciseBuffers
    from mixtura.core.record import Record, moe_layers, record_routing
    from mixtura.core.router import Router
    from mixtura.core.routing import Routing, combine
    from mixtura.core.scores import (
        CapacityPredictor,
        CosineScore,
        LinearScore,
        MLPScore,
        PerTaskScore,
        RecurrentScore,
        RouterCell,
        Score,
        Scored,
        SlotScore,
    )
    from mixtura.core.selections import (
        All,
        Capacity,
        ExpertChoice,
        JointWithShared,
        Percentile,
        PoolChoice,
        Positive,
        RandomDrop,
        Selection,
        SelectionWrapper,
        SoftSlots,
        StraightThrough,
        Threshold,
        TopK,
        TopP,
        WeightInputs,
    )
    from mixtura.core.shared import OutputBias, SharedExpert
    from mixtura.core.slots import SlotRouting
    from mixtura.core.statistics import LayerStatistics
    from mixtura.core.units import SampleUnits, SegmentUnits, TokenUnits, Units

_ROOMS = {
    "adjustments": (
        "Adjustment",
        "BalanceBias",
        "GatePro",
        "GroupLimit",
        "GumbelNoise",
        "Sinkhorn",
        "sinkhorn",
    ),
    "chain": ("Chain",),
    "choice": ("Choice",),
    "configuration": ("ConfigError", "configurable", "from_config", "to_config"),
    "controllers": ("BiasBalance", "Controller"),
    "dispatch": ("Dispatch",),
    "edits": (
        "ChooseK",
        "ChooseRanks",
        "Edit",
        "Forbid",
        "ForceMembers",
        "MultiplyWeights",
        "OffsetLogits",
        "OverrideScores",
        "Replay",
        "edit_routing",
        "routers",
    ),
    "errors": ("InputError",),
    "experts": (
        "DeepMLPExperts",
        "ExpertGroups",
        "Experts",
        "GLUExperts",
        "LoRAExperts",
        "MLPExperts",
        "ModuleExperts",
        "StackedExperts",
    ),
    "layer": ("MoELayer",),
    "losses": (
        "ActiveScores",
        "CapacityPrediction",
        "LoadBalance",
        "Loss",
        "MutualInformation",
        "RouterZ",
        "RoutingContrastive",
        "active_scores",
        "capacity_prediction",
        "load_balance",
        "mutual_information",
        "router_z",
        "routing_contrastive",
    ),
    "precise": ("PreciseBuffers",),
    "record": ("Record", "moe_layers", "record_routing"),
    "router": ("Router",),
    "routing": ("Routing", "combine"),
    "scores": (
        "CapacityPredictor",
        "CosineScore",
        "LinearScore",
        "MLPScore",
        "PerTaskScore",
        "RecurrentScore",
        "RouterCell",
        "Score",
        "Scored",
        "SlotScore",
    ),
    "selections": (
        "All",
        "Capacity",
        "ExpertChoice",
        "JointWithShared",
        "Percentile",
        "PoolChoice",
        "Positive",
        "RandomDrop",
        "Selection",
        "SelectionWrapper",
        "SoftSlots",
        "StraightThrough",
        "Threshold",
        "TopK",
        "TopP",
        "WeightInputs",
    ),
    "shared": ("OutputBias", "SharedExpert"),
    "slots": ("SlotRouting",),
    "statistics": ("LayerStatistics",),
    "units": ("SampleUnits", "SegmentUnits", "TokenUnits", "Units"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "ActiveScores",
    "Adjustment",
    "All",
    "BalanceBias",
    "BiasBalance",
    "Capacity",
    "CapacityPrediction",
    "CapacityPredictor",
    "Chain",
    "Choice",
    "ChooseK",
    "ChooseRanks",
    "ConfigError",
    "Controller",
    "CosineScore",
    "DeepMLPExperts",
    "Dispatch",
    "Edit",
    "ExpertChoice",
    "ExpertGroups",
    "Experts",
    "Forbid",
    "ForceMembers",
    "GLUExperts",
    "GatePro",
    "GroupLimit",
    "GumbelNoise",
    "InputError",
    "JointWithShared",
    "LayerStatistics",
    "LinearScore",
    "LoRAExperts",
    "LoadBalance",
    "Loss",
    "MLPExperts",
    "MLPScore",
    "MoELayer",
    "ModuleExperts",
    "MultiplyWeights",
    "MutualInformation",
    "OffsetLogits",
    "OutputBias",
    "OverrideScores",
    "PerTaskScore",
    "Percentile",
    "PoolChoice",
    "Positive",
    "PreciseBuffers",
    "RandomDrop",
    "Record",
    "RecurrentScore",
    "Replay",
    "Router",
    "RouterCell",
    "RouterZ",
    "Routing",
    "RoutingContrastive",
    "SampleUnits",
    "Score",
    "Scored",
    "SegmentUnits",
    "Selection",
    "SelectionWrapper",
    "SharedExpert",
    "Sinkhorn",
    "SlotRouting",
    "SlotScore",
    "SoftSlots",
    "StackedExperts",
    "StraightThrough",
    "Threshold",
    "TokenUnits",
    "TopK",
    "TopP",
    "Units",
    "WeightInputs",
    "active_scores",
    "capacity_prediction",
    "combine",
    "configurable",
    "edit_routing",
    "from_config",
    "load_balance",
    "moe_layers",
    "mutual_information",
    "record_routing",
    "router_z",
    "routers",
    "routing_contrastive",
    "sinkhorn",
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
