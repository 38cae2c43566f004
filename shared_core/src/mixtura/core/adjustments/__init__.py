"""Adjustments: what happens to logits and scores between the score function and the selection."""

from mixtura.core.adjustments.balance_bias import BalanceBias
from mixtura.core.adjustments.balanced_assignment import BalancedAssignment, balanced_assignment
from mixtura.core.adjustments.base import Adjustment
from mixtura.core.adjustments.gatepro import GatePro
from mixtura.core.adjustments.group_limit import GroupLimit
from mixtura.core.adjustments.gumbel import GumbelNoise
from mixtura.core.adjustments.logit_normalization import LogitNormalization
from mixtura.core.adjustments.sinkhorn import Sinkhorn

__all__ = [
    "Adjustment",
    "BalanceBias",
    "BalancedAssignment",
    "GatePro",
    "GroupLimit",
    "GumbelNoise",
    "LogitNormalization",
    "Sinkhorn",
    "balanced_assignment",
]
