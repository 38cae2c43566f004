"""Losses: what pressure is put on the decision. Pure functions of routings."""

from mixtura.core.losses.active_scores import ActiveScores, active_scores
from mixtura.core.losses.base import Loss
from mixtura.core.losses.capacity_prediction import CapacityPrediction, capacity_prediction
from mixtura.core.losses.load_balance import LoadBalance, load_balance
from mixtura.core.losses.mutual_information import MutualInformation, mutual_information
from mixtura.core.losses.router_z import RouterZ, router_z
from mixtura.core.losses.routing_contrastive import RoutingContrastive, routing_contrastive

__all__ = [
    "ActiveScores",
    "CapacityPrediction",
    "LoadBalance",
    "Loss",
    "MutualInformation",
    "RouterZ",
    "RoutingContrastive",
    "active_scores",
    "capacity_prediction",
    "load_balance",
    "mutual_information",
    "router_z",
    "routing_contrastive",
]
