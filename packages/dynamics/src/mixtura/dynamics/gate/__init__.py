"""MixER's gate: linear in the context, hard, and fitted in closed form."""

from mixtura.dynamics.gate.closed_form import ClosedFormGate, ExpertCosts, GateFit
from mixtura.dynamics.gate.clustering import Clusters, ContextKMeans, KMeansPlusPlus
from mixtura.dynamics.gate.hard_top import HardTop
from mixtura.dynamics.gate.score import ContextScore

__all__ = [
    "ClosedFormGate",
    "Clusters",
    "ContextKMeans",
    "ContextScore",
    "ExpertCosts",
    "GateFit",
    "HardTop",
    "KMeansPlusPlus",
]
