"""Errors between a true and a reconstructed set of trajectories, per environment."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["mape", "mse", "rel_l2", "rel_sq_pointwise"]

Trajectory = Float[Tensor, "environments trajectories times dims"]
PerEnvironment = Float[Tensor, "environments"]


def mse(predicted: Trajectory, true: Trajectory) -> PerEnvironment:
    """Mean squared error over trajectories, times (the first included) and dimensions."""
    return (predicted - true).square().mean((1, 2, 3))


def rel_l2(predicted: Trajectory, true: Trajectory) -> PerEnvironment:
    """Mean over trajectories of `||predicted - true|| / ||true||`, norms over times and dimensions.

    Kassaï Koupaï et al., GEPS, 2024, arXiv 2410.23889.
    """
    error = (predicted - true).flatten(2).norm(dim=2)
    return (error / true.flatten(2).norm(dim=2).clamp_min(1e-12)).mean(1)


def rel_sq_pointwise(predicted: Trajectory, true: Trajectory) -> PerEnvironment:
    """Mean over trajectories and times of the squared norm ratio at each time.

    It explodes near the origin; kept to compare with numbers published as "relative L2".
    """
    error = (predicted - true).square().sum(-1)
    size = true.abs().clamp_min(1e-6).square().sum(-1)
    return (error / size).mean((1, 2))


def mape(predicted: Trajectory, true: Trajectory, eps: float = 1e-8) -> PerEnvironment:
    """Mean absolute percentage error: `100 mean |predicted - true| / max(|true|, eps)`."""
    return 100 * ((predicted - true).abs() / true.abs().clamp_min(eps)).mean((1, 2, 3))
