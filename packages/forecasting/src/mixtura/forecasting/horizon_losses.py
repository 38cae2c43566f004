"""Time-MoE's training loss: every head predicts what follows every point.

Reference: Shi et al., Time-MoE, ICLR 2025 (arXiv 2409.16040), with the released code's details.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

__all__ = ["horizon_loss", "mean_horizon_loss"]


def horizon_loss(
    prediction: Float[Tensor, "series time horizon"],
    labels: Float[Tensor, "series time"],
    mask: Shaped[Tensor, "series time"] | None = None,
    *,
    segments: Int[Tensor, "series time"] | None = None,
    delta: float = 2.0,
    compat_unmasked_tail: bool = False,
) -> Float[Tensor, ""]:
    """Huber loss of one head; the target of point t is labels[t : t + horizon].

    Args:
        prediction: of the head.
        labels: the series shifted by one point.
        mask: labels that count; all real ones if not given.
        segments: number of the sequence of each input point, where several are packed: targets
            that lie in another sequence than the point they are predicted from do not count.
        delta: of the Huber loss.
        compat_unmasked_tail: without a mask, count the zeros behind the end of the labels as
            targets, as the released code does.
    """
    horizon = prediction.shape[-1]
    target = F.pad(labels, (0, horizon - 1)).unfold(-1, horizon, 1)
    losses = F.huber_loss(prediction, target, reduction="none", delta=delta)
    if mask is None:
        if compat_unmasked_tail:
            return losses.mean()
        mask = torch.ones_like(labels)
    weight = F.pad(mask.to(losses.dtype), (0, horizon - 1)).unfold(-1, horizon, 1)
    if segments is not None:
        ahead = F.pad(segments, (0, horizon - 1), value=-1).unfold(-1, horizon, 1)
        weight = weight * (ahead == segments.unsqueeze(-1))
    return (losses * weight).sum() / weight.sum().clamp_min(1.0)


def mean_horizon_loss(
    predictions: Mapping[int, Float[Tensor, "series time _"]],
    labels: Float[Tensor, "series time"],
    mask: Shaped[Tensor, "series time"] | None = None,
    *,
    segments: Int[Tensor, "series time"] | None = None,
    delta: float = 2.0,
    compat_unmasked_tail: bool = False,
) -> Float[Tensor, ""]:
    """The mean of `horizon_loss` over the heads."""
    options = {"delta": delta, "compat_unmasked_tail": compat_unmasked_tail}
    losses = [
        horizon_loss(p, labels, mask, segments=segments, **options) for p in predictions.values()
    ]
    return torch.stack(losses).mean()
