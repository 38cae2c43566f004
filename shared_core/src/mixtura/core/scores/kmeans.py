"""Distances to centroids."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mixtura.core.checks import check_number, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.precise import PreciseBuffers
from mixtura.core.replay import replayed
from mixtura.core.scores.base import Score
from mixtura.core.sinkhorn_knopp import sinkhorn

__all__ = ["LARGEST", "KMeansScore", "find_centroids", "seed_centroids"]

LARGEST = 1e15  # the square of a much larger number overflows float32


@configurable
class KMeansScore(PreciseBuffers, Score):
    """`z = -|x - c_e|^2`: the nearest centroid is the best expert.

    The centroids are buffers, without gradient: `fit` finds them on given data (offline), or every
    training step moves them towards the units they got (online, `momentum`). An evaluation never
    moves them.

    MacQueen, 1967; Lloyd, 1982; seeding after Arthur & Vassilvitskii, k-means++, 2007.

    Args:
        dim: width of what the router looks at.
        num_experts: number of centroids.
        momentum: share that a training step takes of the new means; 0 leaves the centroids alone.
    """

    expert_axes: ClassVar[dict[str, int]] = {"centroids": 0, "counts": 0}
    centroids: Tensor
    counts: Tensor

    def __init__(self, dim: int, num_experts: int, *, momentum: float = 0.0) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts)
        check_number("momentum", momentum, least=0, most=1)
        self.dim = dim
        self.num_experts = num_experts
        self.momentum = momentum
        self.noisy = True
        self.register_buffer("centroids", torch.randn(num_experts, dim))
        self.register_buffer("counts", torch.zeros(num_experts))

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Negative squared distances of each unit."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            centroids = self.centroids.to(precise, copy=True)  # they move before backward runs
            bounded = x.to(precise).clamp(-LARGEST, LARGEST)
            logits = -torch.cdist(bounded, centroids).square()
        if self.training and self.noisy and self.momentum and replayed(x) is False and len(x):
            self._move(x.detach(), logits.detach().argmax(-1), self.momentum)
        return logits, {}

    @torch.no_grad()
    def assign(self, x: Float[Tensor, "units dim"]) -> Int[Tensor, "units"]:
        """The nearest centroid of each unit."""
        return torch.cdist(x.float(), self.centroids).argmin(-1)

    @torch.no_grad()
    def fit(
        self,
        x: Float[Tensor, "units dim"],
        *,
        iterations: int = 50,
        balanced: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        """Find the centroids of the given data.

        Args:
            x: what the router will look at, for example embeddings of the training set.
            iterations: of Lloyd's algorithm.
            balanced: spread the data evenly over the centroids (by Sinkhorn) while fitting.
            generator: of the seeding.
        """
        if len(x) < self.num_experts:
            raise InputError(
                f"{self.num_experts} centroids need at least as many units, got {len(x)}"
            )
        x = x.float()
        self.centroids.copy_(seed_centroids(x, self.num_experts, generator))
        for _ in range(iterations):
            before = self.centroids.clone()
            nearest = self.assign(x)
            if balanced:
                distance = torch.cdist(x, self.centroids).square()
                nearest = sinkhorn(-distance / distance.mean().clamp_min(1e-20) * 10).argmax(-1)
            self._move(x, nearest, 1.0)
            if torch.equal(before, self.centroids):
                break

    @torch.no_grad()
    def _move(self, x: Tensor, nearest: Tensor, share: float) -> None:
        ones = torch.ones(len(x), device=x.device)
        counts = torch.zeros_like(self.counts).index_add(0, nearest, ones)
        sums = torch.zeros_like(self.centroids).index_add(0, nearest, x.to(self.centroids.dtype))
        means = sums / counts.clamp_min(1)[:, None]
        moved = torch.where(counts[:, None] > 0, self.centroids.lerp(means, share), self.centroids)
        self.centroids.copy_(moved)
        self.counts.copy_(counts)


@torch.no_grad()
def seed_centroids(
    x: Float[Tensor, "units dim"], count: int, generator: torch.Generator | None = None
) -> Float[Tensor, "count dim"]:
    """k-means++ with four candidates per seed: far from each other, and where the data are."""
    first = torch.randint(len(x), (1,), generator=generator).to(x.device)
    seeds = x[first]
    distance = torch.cdist(x, seeds).square()[:, 0]
    while len(seeds) < count:
        weights = distance + 1e-20
        candidates = torch.multinomial(weights.cpu(), 4, replacement=True, generator=generator)
        candidates = candidates.to(x.device)
        to_each = torch.minimum(torch.cdist(x, x[candidates]).square(), distance[:, None])
        best = to_each.sum(0).argmin()
        seeds = torch.cat([seeds, x[candidates[best]][None]])
        distance = to_each[:, best]
    return seeds


@torch.no_grad()
def find_centroids(
    x: Float[Tensor, "units dim"], count: int, *, starts: int = 4, iterations: int = 10
) -> Float[Tensor, "count dim"]:
    """The best of a few runs of Lloyd's algorithm from different seeds."""
    best, least = x[:count], float("inf")
    for _ in range(starts):
        centroids = seed_centroids(x, count)
        for _ in range(iterations):
            nearest = torch.cdist(x, centroids).argmin(-1)
            counts = nearest.bincount(minlength=count).to(x.dtype)[:, None]
            sums = torch.zeros_like(centroids).index_add(0, nearest, x)
            centroids = torch.where(counts > 0, sums / counts.clamp_min(1), centroids)
        error = float(torch.cdist(x, centroids).amin(-1).square().sum())
        if error < least:
            best, least = centroids, error
    return best
