"""Losses: what pressure is put on the decision. Pure functions of routings."""

from mixtura.core.losses.active_scores import ActiveScores, active_scores
from mixtura.core.losses.attach import attach_loss
from mixtura.core.losses.base import Loss
from mixtura.core.losses.capacity_prediction import CapacityPrediction, capacity_prediction
from mixtura.core.losses.dirichlet_prior import DirichletPrior, dirichlet_prior
from mixtura.core.losses.group_balance import (
    GroupBalance,
    GroupedBalance,
    group_balance,
    grouped_balance,
)
from mixtura.core.losses.importance import Importance, SmoothLoad, importance, smooth_load
from mixtura.core.losses.load_balance import LoadBalance, load_balance
from mixtura.core.losses.locality import locality
from mixtura.core.losses.marginal_entropy import MarginalEntropy, marginal_entropy
from mixtura.core.losses.mixture_fit import MixtureFit
from mixtura.core.losses.mutual_information import MutualInformation, mutual_information
from mixtura.core.losses.router_entropy import RouterEntropy, router_entropy
from mixtura.core.losses.router_z import RouterZ, router_z
from mixtura.core.losses.routing_contrastive import RoutingContrastive, routing_contrastive
from mixtura.core.losses.selector_entropy import SelectorEntropy
from mixtura.core.losses.specialization import (
    ExpertOrthogonality,
    RoutingVariance,
    expert_orthogonality,
    routing_variance,
)
from mixtura.core.losses.top_any import ExpertDiversity, ExpertSimplicity

__all__ = [
    "ActiveScores",
    "CapacityPrediction",
    "DirichletPrior",
    "ExpertDiversity",
    "ExpertOrthogonality",
    "ExpertSimplicity",
    "GroupBalance",
    "GroupedBalance",
    "Importance",
    "LoadBalance",
    "Loss",
    "MarginalEntropy",
    "MixtureFit",
    "MutualInformation",
    "RouterEntropy",
    "RouterZ",
    "RoutingContrastive",
    "RoutingVariance",
    "SelectorEntropy",
    "SmoothLoad",
    "active_scores",
    "attach_loss",
    "capacity_prediction",
    "dirichlet_prior",
    "expert_orthogonality",
    "group_balance",
    "grouped_balance",
    "importance",
    "load_balance",
    "locality",
    "marginal_entropy",
    "mutual_information",
    "router_entropy",
    "router_z",
    "routing_contrastive",
    "routing_variance",
    "smooth_load",
]
