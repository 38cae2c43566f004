"""The gate's fit without gradients: cluster the contexts, give clusters to experts, regress."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import Controller, InputError, Router, configurable
from mixtura.dynamics.gate.assignment import (
    cluster_costs,
    greedy_assignment,
    optimal_assignment,
)
from mixtura.dynamics.gate.clustering import Clusters, ContextKMeans
from mixtura.dynamics.gate.score import ContextScore

__all__ = ["ClosedFormGate", "Clustering", "ExpertCosts", "GateFit", "minimum_norm_solution"]


@runtime_checkable
class Clustering(Protocol):
    """Anything that clusters contexts."""

    def __call__(
        self,
        contexts: Float[Tensor, "units context"],
        num_clusters: int,
        centroids: Float[Tensor, "clusters context"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Clusters:
        """Cluster `contexts`."""
        ...


@dataclass(frozen=True)
class ExpertCosts:
    """What the gate's controller looks at.

    Attributes:
        contexts: what the router sees of each environment.
        losses: loss of each environment with each expert alone.
    """

    contexts: Float[Tensor, "units context"]
    losses: Float[Tensor, "units experts"]


@dataclass(frozen=True)
class GateFit:
    """What one update did.

    Attributes:
        updated: whether the gate has new weights.
        message: one sentence.
        targets: one-hot expert of each environment; zeros when the gate was not updated.
        assignment: cluster of each environment.
        cluster_expert: expert of each cluster.
    """

    updated: bool
    message: str
    targets: Float[Tensor, "units experts"]
    assignment: Int[Tensor, "units"] | None = None
    cluster_expert: Int[Tensor, "clusters"] | None = None


@configurable
class ClosedFormGate(Controller[ExpertCosts]):
    """A controller that fits a router's `ContextScore` between gradient steps.

    1. Cluster the contexts into as many clusters as there are experts.
    2. Cost of an expert for a cluster: the median loss of the cluster's environments with it.
    3. Clusters take experts one to one.
    4. Least squares from the (slightly noisy) contexts to one-hot targets, of least norm.

    It keeps the centroids between updates and forgets them when a clustering fails.

    Nzoyem et al., MixER, 2025, arXiv 2502.05335.

    Args:
        clustering: of the contexts; MixER's own k-means when not given.
        assignment: "greedy" as published, or "optimal" (least total cost).
        noise: standard deviation of what is added to the contexts before the regression.
        ridge: weight of a squared penalty instead of, or besides, the noise.
    """

    centroids: Tensor
    remembered: Tensor

    def __init__(
        self,
        clustering: Clustering | None = None,
        assignment: Literal["greedy", "optimal"] = "greedy",
        noise: float = 1e-4,
        ridge: float = 0.0,
    ) -> None:
        super().__init__()
        if noise < 0 or ridge < 0:
            raise InputError(f"noise and ridge must not be negative, got {noise} and {ridge}")
        self.clustering: Clustering = ContextKMeans() if clustering is None else clustering
        self.assignment: Literal["greedy", "optimal"] = assignment
        self.noise, self.ridge = noise, ridge
        self.register_buffer("centroids", torch.zeros(0, 0))
        self.register_buffer("remembered", torch.tensor(False))

    def allocate(self, num_experts: int, context_dim: int) -> None:
        """Make room for the centroids, so that a checkpoint always holds as many numbers."""
        self.centroids = self.centroids.new_zeros(num_experts, context_dim)
        self.remembered.fill_(False)

    def remember(self, centroids: Float[Tensor, "clusters context"]) -> None:
        """Start the next clustering from these centroids."""
        self.centroids = centroids.detach().clone()
        self.remembered.fill_(True)

    def step(
        self,
        routers: Mapping[str, Router],
        statistics: Mapping[str, ExpertCosts],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, GateFit]:
        """Fit the router to the costs of its layer; a frozen one stays as it is.

        Args:
            routers: by the name of their layer; one of them has a `ContextScore`.
            statistics: by the same names.
            generator: draws the noise and the first centroids.
        """
        scores = self.steered(ContextScore, routers, statistics)
        if len(scores) > 1:
            raise InputError(
                f"a ClosedFormGate keeps the centroids of one router, got {', '.join(scores)}; "
                "give each its own"
            )
        return {
            name: self.fit(
                score, statistics[name].contexts, statistics[name].losses, generator=generator
            )
            for name, score in scores.items()
        }

    @torch.no_grad()
    def fit(
        self,
        score: ContextScore,
        contexts: Float[Tensor, "units context"],
        expert_losses: Float[Tensor, "units experts"],
        *,
        generator: torch.Generator | None = None,
        noise_unit: Float[Tensor, "units context"] | None = None,
    ) -> GateFit:
        """Set the weights of `score`.

        Args:
            score: what is fitted.
            contexts: of all environments.
            expert_losses: loss of each environment with each expert alone.
            generator: draws the noise and the first centroids.
            noise_unit: the noise in units of its standard deviation; drawn when not given.
        """
        num_experts = score.num_experts
        contexts = contexts.detach()
        known = self.centroids if bool(self.remembered) else None
        clusters = self.clustering(contexts, num_experts, known, generator)
        nothing = torch.zeros(len(contexts), num_experts, device=contexts.device)
        if clusters.outcome != "converged":
            self.remembered.fill_(False)
            return GateFit(False, clusters.message, nothing)
        assert clusters.assignment is not None
        assert clusters.centroids is not None
        self.remember(clusters.centroids)
        losses = expert_losses.detach().nan_to_num(nan=1e30, posinf=1e30)
        cost = cluster_costs(losses, clusters.assignment, num_experts)
        choose = greedy_assignment if self.assignment == "greedy" else optimal_assignment
        cluster_expert = choose(cost)
        expert = cluster_expert[clusters.assignment]
        self.regress(score, contexts, expert, generator=generator, noise_unit=noise_unit)
        targets = torch.nn.functional.one_hot(expert, num_experts).to(contexts.dtype)
        return GateFit(True, clusters.message, targets, clusters.assignment, cluster_expert)

    @torch.no_grad()
    def regress(
        self,
        score: ContextScore,
        contexts: Float[Tensor, "units context"],
        expert: Int[Tensor, "units"],
        *,
        generator: torch.Generator | None = None,
        noise_unit: Float[Tensor, "units context"] | None = None,
    ) -> None:
        """Fit `score` to a given expert for each environment."""
        if noise_unit is None:
            noise_unit = torch.randn(contexts.shape, generator=generator).to(contexts)
        features = score.features(contexts + self.noise * noise_unit)
        targets = torch.nn.functional.one_hot(expert, score.num_experts).to(contexts.dtype)
        if self.ridge:
            penalty = self.ridge**0.5 * torch.eye(features.shape[1]).to(features)
            features = torch.cat([features, penalty])
            targets = torch.cat([targets, targets.new_zeros(len(penalty), targets.shape[1])])
        score.weight.copy_(minimum_norm_solution(features, targets))


def minimum_norm_solution(
    features: Float[Tensor, "rows features"], targets: Float[Tensor, "rows experts"]
) -> Float[Tensor, "features experts"]:
    """Least squares of least norm, singular values cut at the precision of float32.

    Computed in float64: the features may have fewer rows than columns, or repeated ones.
    """
    cutoff = torch.finfo(torch.float32).eps * max(features.shape)
    return (torch.linalg.pinv(features.double(), rtol=cutoff) @ targets.double()).to(features.dtype)
