"""Optimisers, schedules and parameter groups."""

from mixtura.training.optimisation.groups import parameter_groups
from mixtura.training.optimisation.optimizers import SGD, AdamW, Optimizer, TorchOptimizer
from mixtura.training.optimisation.schedules import (
    Constant,
    ExponentialByEpoch,
    Schedule,
    WarmupCosine,
)

__all__ = [
    "SGD",
    "AdamW",
    "Constant",
    "ExponentialByEpoch",
    "Optimizer",
    "Schedule",
    "TorchOptimizer",
    "WarmupCosine",
    "parameter_groups",
]
