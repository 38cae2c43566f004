"""Selections: from scores to a routing."""

from mixtura.core.selections.all import All
from mixtura.core.selections.base import Selection
from mixtura.core.selections.capacity import Capacity
from mixtura.core.selections.expert_choice import ExpertChoice
from mixtura.core.selections.force_balanced import ForceBalanced
from mixtura.core.selections.joint_with_shared import JointWithShared
from mixtura.core.selections.percentile import Percentile
from mixtura.core.selections.pool_choice import PoolChoice
from mixtura.core.selections.positive import Positive
from mixtura.core.selections.random_drop import RandomDrop
from mixtura.core.selections.soft import SoftSlots
from mixtura.core.selections.threshold import Threshold
from mixtura.core.selections.top_any import TopAny
from mixtura.core.selections.top_p import TopP
from mixtura.core.selections.topk import TopK
from mixtura.core.selections.unit_weights import HardWeights, UnitWeights
from mixtura.core.selections.weight_inputs import StraightThrough, WeightInputs
from mixtura.core.selections.wrapper import SelectionWrapper

__all__ = [
    "All",
    "Capacity",
    "ExpertChoice",
    "ForceBalanced",
    "HardWeights",
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
    "TopAny",
    "TopK",
    "TopP",
    "UnitWeights",
    "WeightInputs",
]
