"""Errors between a true and a reconstructed set of trajectories, per environment.

Where `observed` is given, only these samples count.
"""

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["mape", "mse", "rel_l2", "rel_sq_pointwise"]

Trajectory = Float[Tensor, "environments trajectories times dims"]
Observed = Bool[Tensor, "environments trajectories times"] | None
PerEnvironment = Float[Tensor, "environments"]


def mse(predicted: Trajectory, true: Trajectory, observed: Observed = None) -> PerEnvironment:
    """Mean squared error over trajectories, times (the first included) and dimensions."""
    return average((predicted - true).square(), observed)


def rel_l2(predicted: Trajectory, true: Trajectory, observed: Observed = None) -> PerEnvironment:
    """Mean over trajectories of `||predicted - true|| / ||true||`, norms over times and dimensions.

    Kassaï Koupaï et al., GEPS, 2024, arXiv 2410.23889.
    """
    error, there = predicted - true, None
    if observed is not None:
        error, true = (x.where(observed[..., None], 0.0) for x in (error, true))
        there = observed.any(2)
    ratio = error.flatten(2).norm(dim=2) / true.flatten(2).norm(dim=2).clamp_min(1e-12)
    return average(ratio, there)


def rel_sq_pointwise(
    predicted: Trajectory, true: Trajectory, observed: Observed = None
) -> PerEnvironment:
    """Mean over trajectories and times of the squared norm ratio at each time.

    It explodes near the origin; kept to compare with numbers published as "relative L2".
    """
    error = (predicted - true).square().sum(-1)
    size = true.abs().clamp_min(1e-6).square().sum(-1)
    return average(error / size, observed)


def mape(
    predicted: Trajectory, true: Trajectory, observed: Observed = None, eps: float = 1e-8
) -> PerEnvironment:
    """Mean absolute percentage error: `100 mean |predicted - true| / max(|true|, eps)`."""
    return 100 * average((predicted - true).abs() / true.abs().clamp_min(eps), observed)


def average(
    values: Float[Tensor, "environments *rest"], there: Bool[Tensor, "environments *some"] | None
) -> PerEnvironment:
    """Mean of each environment, over what is there; `there` may lack the last axis."""
    if there is None:
        return values.mean(tuple(range(1, values.ndim)))
    there = there.view(*there.shape, *[1] * (values.ndim - there.ndim)).expand_as(values)
    kept = values.where(there, 0.0).flatten(1).sum(1)
    return kept / there.flatten(1).sum(1).clamp_min(1)
