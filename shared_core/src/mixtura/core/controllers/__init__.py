"""Controllers: what changes a router between optimiser steps."""

from mixtura.core.controllers.base import Controller
from mixtura.core.controllers.bias_balance import BiasBalance
from mixtura.core.controllers.gate_freeze import GateFreeze
from mixtura.core.controllers.sparsity import SparsityControl
from mixtura.core.controllers.staged import Stage, StagedTraining
from mixtura.core.controllers.top_p import TopPControl

__all__ = [
    "BiasBalance",
    "Controller",
    "GateFreeze",
    "SparsityControl",
    "Stage",
    "StagedTraining",
    "TopPControl",
]
