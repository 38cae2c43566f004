"""Experts: who does the work."""

from mixtura.core.experts.base import Experts
from mixtura.core.experts.batch_norm_mlp import BatchNormMLPExperts
from mixtura.core.experts.glu import GLUExperts
from mixtura.core.experts.groups import ExpertGroups
from mixtura.core.experts.lora import LoRAExperts
from mixtura.core.experts.mlp import MLPExperts
from mixtura.core.experts.modules import ModuleExperts
from mixtura.core.experts.stacked import StackedExperts

__all__ = [
    "BatchNormMLPExperts",
    "ExpertGroups",
    "Experts",
    "GLUExperts",
    "LoRAExperts",
    "MLPExperts",
    "ModuleExperts",
    "StackedExperts",
]
