"""Experts: who does the work."""

from mixtura.core.experts.base import Experts
from mixtura.core.experts.deep_mlp import DeepMLPExperts
from mixtura.core.experts.glu import GLUExperts
from mixtura.core.experts.groups import ExpertGroups
from mixtura.core.experts.lora import LoRAExperts
from mixtura.core.experts.mlp import MLPExperts
from mixtura.core.experts.modules import ModuleExperts
from mixtura.core.experts.stacked import StackedExperts

__all__ = [
    "DeepMLPExperts",
    "ExpertGroups",
    "Experts",
    "GLUExperts",
    "LoRAExperts",
    "MLPExperts",
    "ModuleExperts",
    "StackedExperts",
]
