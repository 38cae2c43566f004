"""Experts: who does the work."""

from mixtura.core.experts.base import Experts
from mixtura.core.experts.glu import GLUExperts
from mixtura.core.experts.mlp import MLPExperts
from mixtura.core.experts.modules import ModuleExperts
from mixtura.core.experts.stacked import StackedExperts

__all__ = ["Experts", "GLUExperts", "MLPExperts", "ModuleExperts", "StackedExperts"]
