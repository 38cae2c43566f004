"""Score functions: what a router thinks of each expert for each unit."""

from mixtura.core.scores.base import Score, Scored
from mixtura.core.scores.capacity_predictor import CapacityPredictor
from mixtura.core.scores.centroid_distance import CentroidDistanceScore
from mixtura.core.scores.cosine import CosineScore
from mixtura.core.scores.dselect import DSelectScore
from mixtura.core.scores.grouped import GroupedScore
from mixtura.core.scores.hash import HashScore, HyperplaneHashScore
from mixtura.core.scores.kmeans import KMeansScore
from mixtura.core.scores.linear import LinearScore
from mixtura.core.scores.mixture_model import MixtureModelScore
from mixtura.core.scores.mlp import MLPScore
from mixtura.core.scores.noisy import NoisyLinearScore
from mixtura.core.scores.per_task import PerTaskScore
from mixtura.core.scores.random import RandomScore
from mixtura.core.scores.recurrent import RecurrentScore, RouterCell
from mixtura.core.scores.slots import SlotScore
from mixtura.core.scores.table import TableScore
from mixtura.core.scores.top_any import TopAnyScore

__all__ = [
    "CapacityPredictor",
    "CentroidDistanceScore",
    "CosineScore",
    "DSelectScore",
    "GroupedScore",
    "HashScore",
    "HyperplaneHashScore",
    "KMeansScore",
    "LinearScore",
    "MLPScore",
    "MixtureModelScore",
    "NoisyLinearScore",
    "PerTaskScore",
    "RandomScore",
    "RecurrentScore",
    "RouterCell",
    "Score",
    "Scored",
    "SlotScore",
    "TableScore",
    "TopAnyScore",
]
