"""Edits: reversible changes to what a router decides, without a change of its weights."""

from mixtura.core.choice import Choice
from mixtura.core.edits.base import Edit, apply_edits, edit_routing, routers
from mixtura.core.edits.choose import ChooseK, ChooseRanks, ForceMembers, Replay
from mixtura.core.edits.forbid import Forbid
from mixtura.core.edits.logits import OffsetLogits
from mixtura.core.edits.scores import OverrideScores
from mixtura.core.edits.weights import MultiplyWeights

__all__ = [
    "Choice",
    "ChooseK",
    "ChooseRanks",
    "Edit",
    "Forbid",
    "ForceMembers",
    "MultiplyWeights",
    "OffsetLogits",
    "OverrideScores",
    "Replay",
    "apply_edits",
    "edit_routing",
    "routers",
]
