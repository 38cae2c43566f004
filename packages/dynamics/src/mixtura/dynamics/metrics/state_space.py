"""State-space divergence: do two attractors fill the state space alike?"""

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core import InputError

__all__ = ["state_space_divergence", "state_space_divergence_gmm"]

SMOOTHING = 1e-5


def state_space_divergence(
    generated: Float[Tensor, "steps dims"], true: Float[Tensor, "times dims"], bins: int = 30
) -> Float[Tensor, ""]:
    """Kullback-Leibler divergence of histograms, `KL(true || generated)`.

    Bins span the range of the true data. As in the reference implementation, the first bin of each
    dimension is left out.

    Koppe et al., Identifying nonlinear dynamical systems via generative recurrent neural networks,
    2019; Brenner et al., 2022, arXiv 2207.02542.

    Args:
        generated: a long run of the model.
        true: a long run of the system.
        bins: per dimension; choose it so that bins ** dims fits into memory.
    """
    dims = true.shape[1]
    if bins**dims > 20_000_000:
        raise InputError(
            f"{bins} bins in {dims} dimensions are too many cells; lower bins or use "
            "state_space_divergence_gmm"
        )
    low, high = true.amin(0), true.amax(0)
    true_share = cell_shares(true, low, high, bins)
    generated_share = cell_shares(generated, low, high, bins)
    return (true_share * (true_share / generated_share).log()).sum()


def cell_shares(x: Tensor, low: Tensor, high: Tensor, bins: int) -> Float[Tensor, "cells"]:
    """Smoothed share of the samples in each cell."""
    index = torch.floor(bins * (x - low) / (high - low)).nan_to_num(nan=-1.0).clamp(-1, bins)
    index = index.long()
    kept = index[((index > 0) & (index < bins)).all(1)]
    strides = bins ** torch.arange(x.shape[1], device=x.device)
    counts = torch.bincount((kept * strides).sum(1), minlength=bins ** x.shape[1]).to(x.dtype)
    return (counts + SMOOTHING) / (counts.sum() + SMOOTHING * len(counts))


def state_space_divergence_gmm(
    generated: Float[Tensor, "steps dims"],
    true: Float[Tensor, "times dims"],
    scale: float = 1.0,
    samples: int = 1000,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """The same with Gaussian mixtures on the trajectories, for more than about five dimensions.

    Mean over samples of the true trajectory of `log p_true - log p_generated`, with isotropic
    kernels of variance `scale` on up to `samples` points of each. Not comparable with the
    histogram version.

    Brenner et al., Tractable Dendritic RNNs for Reconstructing Nonlinear Dynamical Systems, 2022.
    """
    chosen = [
        x[torch.randperm(len(x), generator=generator)[:samples].to(x.device)]
        for x in (true, generated, true)
    ]
    points, (centers_generated, centers_true) = chosen[0], (chosen[1], chosen[2])

    def log_density(centers: Tensor) -> Tensor:
        square = torch.cdist(points, centers).square()
        return torch.logsumexp(-square / (2 * scale), 1) - torch.log(torch.tensor(len(centers)))

    return (log_density(centers_true) - log_density(centers_generated)).mean()
