"""K-means over contexts, as MixER does it and as it can be done better."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core import InputError, configurable

__all__ = ["Clusters", "ContextKMeans", "KMeansPlusPlus"]

Outcome = Literal["converged", "empty", "not_converged"]


@dataclass(frozen=True)
class Clusters:
    """What a clustering ended with.

    Attributes:
        outcome: "converged", or why there is no result.
        assignment: cluster of each context; None without a result.
        centroids: means of these clusters (clusters, context); None without a result.
        iterations: how many were needed.
        empty: the first empty cluster, if that was the reason.
    """

    outcome: Outcome
    assignment: Int[Tensor, "units"] | None = None
    centroids: Float[Tensor, "clusters context"] | None = None
    iterations: int = 0
    empty: int | None = None

    @property
    def message(self) -> str:
        """One sentence."""
        if self.outcome == "converged":
            return f"k-means converged after {self.iterations} iterations"
        if self.outcome == "empty":
            return f"cluster {self.empty} is empty, the gate stays as it is"
        return f"k-means did not converge in {self.iterations} iterations, the gate stays as it is"


@configurable
class ContextKMeans:
    """Assign by mean absolute difference, move to the mean; give up on an empty cluster.

    The clusters are those of the last iteration and the centroids are their means; with a wide
    tolerance a context may lie nearer to the mean of another one. Centroids are kept from call to
    call. Without any, the start is uniform in +-`start`. A run that converges in the last allowed
    iteration counts as not converged.

    Nzoyem et al., MixER, 2025, arXiv 2502.05335.

    Args:
        max_iterations: after which the clustering is given up.
        tolerance: absolute change of the centroids that ends it.
        start: bound of the random first centroids.
    """

    def __init__(
        self, max_iterations: int = 20, tolerance: float = 1e-4, start: float = 1e-3
    ) -> None:
        self.max_iterations, self.tolerance, self.start = max_iterations, tolerance, start

    def __call__(
        self,
        contexts: Float[Tensor, "units context"],
        num_clusters: int,
        centroids: Float[Tensor, "clusters context"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Clusters:
        """Cluster `contexts`, starting from `centroids`."""
        if centroids is None:
            shape = (num_clusters, contexts.shape[1])
            draw = torch.rand(shape, generator=generator, dtype=contexts.dtype)
            centroids = ((2 * draw - 1) * self.start).to(contexts.device)
        for iteration in range(1, self.max_iterations + 1):
            assignment = nearest(contexts, centroids)
            counts = torch.bincount(assignment, minlength=num_clusters)
            if bool((counts == 0).any()):
                empty = int((counts == 0).to(torch.int8).argmax())
                return Clusters("empty", iterations=iteration, empty=empty)
            moved = cluster_means(contexts, assignment, counts)
            settled = torch.allclose(moved, centroids, rtol=1e-5, atol=self.tolerance)
            centroids = moved
            if settled and iteration < self.max_iterations:
                return Clusters("converged", assignment, centroids, iteration)
            if settled:
                break
        return Clusters("not_converged", iterations=self.max_iterations)


@configurable
class KMeansPlusPlus:
    """Euclidean k-means with spread-out random starts, restarts and no empty clusters.

    The best of `restarts` runs by within-cluster sum of squares; an empty cluster takes the context
    that is farthest from its own centroid. Contexts can be scaled to unit variance first, so that
    entries with a large spread do not decide alone.

    Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding, 2007.

    Args:
        restarts: independent starts.
        max_iterations: per start.
        standardise: scale every entry of the contexts to unit variance before.
    """

    def __init__(
        self, restarts: int = 10, max_iterations: int = 100, standardise: bool = False
    ) -> None:
        if restarts < 1:
            raise InputError(f"restarts must be at least 1, got {restarts}")
        self.restarts, self.max_iterations = restarts, max_iterations
        self.standardise = standardise

    def __call__(
        self,
        contexts: Float[Tensor, "units context"],
        num_clusters: int,
        centroids: Float[Tensor, "clusters context"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Clusters:
        """Cluster `contexts`; `centroids` are one more start."""
        if len(contexts) < num_clusters:
            return Clusters("empty", empty=len(contexts))
        scale = contexts.std(0, correction=0).clamp_min(1e-12) if self.standardise else 1.0
        points = contexts / scale
        starts = [] if centroids is None else [centroids / scale]
        starts += [spread_start(points, num_clusters, generator) for _ in range(self.restarts)]
        best: Clusters | None = None
        best_cost = float("inf")
        for start in starts:
            found = self.run(points, start)
            assert found.assignment is not None
            assert found.centroids is not None
            cost = float((points - found.centroids[found.assignment]).square().sum())
            if cost < best_cost * (1 - 1e-6):
                best, best_cost = found, cost
        assert best is not None
        assert best.assignment is not None
        assert best.centroids is not None
        counts = torch.bincount(best.assignment, minlength=num_clusters)
        if bool((counts == 0).any()):
            return Clusters("empty", iterations=best.iterations, empty=int(counts.argmin()))
        return Clusters("converged", best.assignment, best.centroids * scale, best.iterations)

    def run(self, points: Tensor, centroids: Tensor) -> Clusters:
        """Lloyd's iterations from one start."""
        assignment = torch.cdist(points, centroids).argmin(1)
        iteration = 0
        while iteration < self.max_iterations:
            iteration += 1
            counts = torch.bincount(assignment, minlength=len(centroids))
            centroids = cluster_means(points, assignment, counts.clamp_min(1))
            distance = torch.cdist(points, centroids)
            updated = distance.argmin(1)
            for empty in torch.nonzero(counts == 0)[:, 0].tolist():
                own = distance.gather(1, updated[:, None])[:, 0]
                updated[own.argmax()] = empty
            if torch.equal(updated, assignment):
                break
            assignment = updated
        return Clusters("converged", assignment, centroids, iteration)


def nearest(
    contexts: Float[Tensor, "units context"], centroids: Float[Tensor, "clusters context"]
) -> Int[Tensor, "units"]:
    """Cluster with the least mean absolute difference; ties go to the lowest index."""
    return (contexts[:, None] - centroids[None]).abs().mean(-1).argmin(1)


def cluster_means(contexts: Tensor, assignment: Tensor, counts: Tensor) -> Tensor:
    """Arithmetic mean of the members of each cluster."""
    total = contexts.new_zeros(len(counts), contexts.shape[1])
    return total.index_add(0, assignment, contexts) / counts[:, None]


def spread_start(points: Tensor, num_clusters: int, generator: torch.Generator | None) -> Tensor:
    """k-means++ seeding: each next centroid is drawn in proportion to the squared distance."""
    first = int(torch.randint(len(points), (), generator=generator))
    chosen = [first]
    square = (points - points[first]).square().sum(1)
    for _ in range(num_clusters - 1):
        total = float(square.sum())
        if total <= 0:
            chosen.append(int(torch.randint(len(points), (), generator=generator)))
            continue
        draw = float(torch.rand((), generator=generator)) * total
        index = int(torch.searchsorted(square.cumsum(0), draw).clamp_max(len(points) - 1))
        chosen.append(index)
        square = torch.minimum(square, (points - points[index]).square().sum(1))
    return points[chosen]
