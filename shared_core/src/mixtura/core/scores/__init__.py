"""Score functions: what a router thinks of each expert for each unit."""

from mixtura.core.scores.base import Score, Scored
from mixtura.core.scores.capacity_predictor import CapacityPredictor
from mixtura.core.scores.cosine import CosineScore
from mixtura.core.scores.linear import LinearScore
from mixtura.core.scores.mlp import MLPScore
from mixtura.core.scores.per_task import PerTaskScore
from mixtura.core.scores.recurrent import RecurrentScore, RouterCell
from mixtura.core.scores.slots import SlotScore

__all__ = [
    "CapacityPredictor",
    "CosineScore",
    "LinearScore",
    "MLPScore",
    "PerTaskScore",
    "RecurrentScore",
    "RouterCell",
    "Score",
    "Scored",
    "SlotScore",
]
