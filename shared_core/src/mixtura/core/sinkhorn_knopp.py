"""The doubly normalised matrix."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["sinkhorn"]


@torch.no_grad()
def sinkhorn(
    logits: Float[Tensor, "units routed"],
    mask: Bool[Tensor, "units"] | None = None,
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 100,
) -> Float[Tensor, "units routed"]:
    """`exp(logits)` scaled so that rows sum to 1/U and columns to 1/R.

    Sinkhorn & Knopp, 1967; for routing: Clark et al., arXiv 2202.01169.

    Args:
        logits: what is scaled.
        mask: units that count; the rows of the others are zero.
        tolerance: the iteration ends when the column scalings move less than this on average.
        max_iterations: or after this many rounds.
    """
    routed = logits.shape[-1]
    cost = torch.exp(logits.float() - logits.float().amax(-1, keepdim=True))
    units: Tensor | int = logits.shape[0]
    if mask is not None:
        cost = cost * mask[:, None]
        units = mask.sum().clamp_min(1)
    if logits.shape[0] == 0:
        return cost
    # The row maximum that was taken out divides the row scalings and nothing else.
    columns = cost.new_ones(routed)
    rows = cost.new_ones(logits.shape[0])
    for _ in range(max_iterations):
        rows = 1 / units / (cost @ columns + 1e-8)
        before, columns = columns, 1 / routed / (rows @ cost + 1e-8)
        if float((before - columns).abs().mean()) <= tolerance:
            break
    return columns * cost * rows[:, None]
