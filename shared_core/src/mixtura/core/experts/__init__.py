"""Experts: who does the work."""

from mixtura.core.experts.attention import AttentionExperts
from mixtura.core.experts.base import Experts
from mixtura.core.experts.conv import ConvExperts
from mixtura.core.experts.deep_mlp import DeepMLPExperts
from mixtura.core.experts.embedding import EmbeddingExperts
from mixtura.core.experts.external import ExternalExperts
from mixtura.core.experts.glu import GLUExperts
from mixtura.core.experts.groups import ExpertGroups
from mixtura.core.experts.gru import GRUExperts
from mixtura.core.experts.interchange import from_fused, from_module_list, to_fused, to_module_list
from mixtura.core.experts.latent import LatentExperts, factorize_experts
from mixtura.core.experts.linear import LinearExperts
from mixtura.core.experts.lora import LoRAExperts
from mixtura.core.experts.mlp import MLPExperts
from mixtura.core.experts.modules import ModuleExperts
from mixtura.core.experts.simple import WithSimpleExperts
from mixtura.core.experts.stacked import StackedExperts
from mixtura.core.experts.views import ViewExperts

__all__ = [
    "AttentionExperts",
    "ConvExperts",
    "DeepMLPExperts",
    "EmbeddingExperts",
    "ExpertGroups",
    "Experts",
    "ExternalExperts",
    "GLUExperts",
    "GRUExperts",
    "LatentExperts",
    "LinearExperts",
    "LoRAExperts",
    "MLPExperts",
    "ModuleExperts",
    "StackedExperts",
    "ViewExperts",
    "WithSimpleExperts",
    "factorize_experts",
    "from_fused",
    "from_module_list",
    "to_fused",
    "to_module_list",
]
