"""Distances to given centroids, the nearest or the farthest first."""

from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_option, check_sizes
from mixtura.core.configuration import configurable
from mixtura.core.precise import PreciseBuffers
from mixtura.core.scores.base import Score
from mixtura.core.scores.kmeans import LARGEST

__all__ = ["CentroidDistanceScore", "DistanceMode"]

DistanceMode = Literal["smallest", "largest"]


@configurable
class CentroidDistanceScore(PreciseBuffers, Score):
    """`z = -|x - c_e|`, or `+|x - c_e|` where the farthest centroid is the best expert.

    The centroids are a buffer: they come from a clustering of what a pretrained model's tokens look
    like, and neither a gradient nor a training step moves them. With the selection
    `TopK(k, renormalize="softmax")` the combine weights are a softmax over the k distances.

    Liu et al., Moirai-MoE, 2024 (arXiv 2410.10469). Its released weights were trained with the
    largest distances, whatever the paper's text says.

    Args:
        dim: width of what the router looks at.
        num_experts: number of centroids.
        distance_mode: which distance makes an expert the best.
    """

    expert_axes: ClassVar[dict[str, int]] = {"centroids": 0}
    centroids: Tensor

    def __init__(
        self, dim: int, num_experts: int, *, distance_mode: DistanceMode = "smallest"
    ) -> None:
        super().__init__()
        check_sizes(dim=dim, num_experts=num_experts)
        check_option("distance_mode", distance_mode, get_args(DistanceMode))
        self.dim = dim
        self.num_experts = num_experts
        self.distance_mode: DistanceMode = distance_mode
        self.register_buffer("centroids", torch.randn(num_experts, dim))

    def forward(
        self, x: Float[Tensor, "units dim"]
    ) -> tuple[Float[Tensor, "units routed"], dict[str, Any]]:
        """Signed Euclidean distances of each unit."""
        with torch.autocast(x.device.type, enabled=False):
            precise = torch.promote_types(x.dtype, torch.float32)
            distance = torch.cdist(
                x.to(precise).clamp(-LARGEST, LARGEST), self.centroids.to(precise)
            )
        return distance if self.distance_mode == "largest" else -distance, {}

    def expert_vectors(self) -> Float[Tensor, "routed dim"]:
        """The centroids, turned round where the farthest is the best."""
        return self.centroids if self.distance_mode == "smallest" else -self.centroids
