"""One expert for each cluster of environments."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

__all__ = ["cluster_costs", "greedy_assignment", "optimal_assignment"]


def cluster_costs(
    losses: Float[Tensor, "units experts"], assignment: Int[Tensor, "units"], num_clusters: int
) -> Float[Tensor, "clusters experts"]:
    """Median over the members of a cluster of their loss with each expert.

    For an even number of members the median is the mean of the two in the middle.
    """
    return torch.stack([losses[assignment == j].quantile(0.5, dim=0) for j in range(num_clusters)])


def greedy_assignment(cost: Float[Tensor, "clusters experts"]) -> Int[Tensor, "clusters"]:
    """Clusters in order each take the cheapest expert that is left (lowest index on ties)."""
    taken: list[int] = []
    for row in cost:
        order = torch.argsort(row, stable=True).tolist()
        taken.append(next(expert for expert in order if expert not in taken))
    return torch.tensor(taken, device=cost.device)


def optimal_assignment(cost: Float[Tensor, "clusters experts"]) -> Int[Tensor, "clusters"]:
    """The one-to-one assignment of least total cost (Kuhn, The Hungarian method, 1955)."""
    matrix = cost.detach().cpu().double().numpy()
    finite = np.nan_to_num(matrix, nan=1e30, posinf=1e30)
    _, experts = linear_sum_assignment(finite)
    return torch.as_tensor(experts, device=cost.device)
