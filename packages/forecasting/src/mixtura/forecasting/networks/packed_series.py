"""Windows of several variates as one sequence of patch tokens, and their scale.

Reference: Woo et al., Unified training of universal time series forecasting transformers, ICML 2024
(arXiv 2402.02592): any-variate attention flattens the variates.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PackedSeries", "pack_windows", "packed_statistics"]


class PackedSeries(NamedTuple):
    """Tokens of a batch: all variates' past tokens, then all variates' future tokens.

    Attributes:
        target: values of each token, 0 where there is none.
        observed: whether a value was observed.
        sample_id: 1, or 0 for a token that is only padding.
        time_id: patches since the first one with an observed value.
        variate_id: variate of each token.
        future: whether a token belongs to the horizon.
    """

    target: Float[Tensor, "batch tokens patch"]
    observed: Bool[Tensor, "batch tokens patch"]
    sample_id: Int[Tensor, "batch tokens"]
    time_id: Int[Tensor, "batch tokens"]
    variate_id: Int[Tensor, "batch tokens"]
    future: Bool[Tensor, "batch tokens"]


def pack_windows(
    past: Float[Tensor, "batch variates time"],
    horizon: int,
    patch_width: int,
    *,
    max_patch_width: int | None = None,
    observed: Bool[Tensor, "batch variates time"] | None = None,
    padding: Bool[Tensor, "batch time"] | None = None,
    future: Float[Tensor, "batch variates horizon"] | None = None,
) -> PackedSeries:
    """The look-back, padded on the left to whole patches, and room for the horizon.

    Args:
        past: the look-back.
        horizon: points to forecast.
        patch_width: points of a token.
        max_patch_width: width in which tokens are stored, `patch_width` if not given.
        observed: values of `past` that were observed; all that are not NaN if not given.
        padding: points of time before the series begins; those before the first observed value
            if not given.
        future: what came, where it is known; zeros if not given.
    """
    if observed is None:
        observed = ~past.isnan()
    if padding is None:
        padding = ~observed.any(1).long().cummax(-1).values.bool()
    wide = max(0, (max_patch_width or patch_width) - patch_width)
    variates = past.shape[1]
    left, right = -past.shape[-1] % patch_width, -horizon % patch_width
    if future is None:
        future = past.new_zeros((*past.shape[:2], horizon))
    seen = F.pad(observed, (left, 0)).unflatten(-1, (-1, patch_width))
    begun = seen.any(-1).any(1).long().cummax(-1).values
    past_time = (begun.cumsum(-1) - 1).clamp_min(0)
    steps = torch.arange(1, (horizon + right) // patch_width + 1, device=past.device)
    future_time = past_time.amax(-1, keepdim=True) + steps
    real = (~F.pad(padding, (left, 0), value=True)).unflatten(-1, (-1, patch_width)).any(-1)
    names = torch.arange(variates, device=past.device)

    def tokens(values: Tensor, before: int, behind: int) -> Tensor:
        patches = F.pad(values, (before, behind)).unflatten(-1, (-1, patch_width))
        return F.pad(patches, (0, wide)).flatten(1, 2)

    def each_variate(of_past: Tensor, of_future: Tensor) -> Tensor:
        return torch.cat((of_past.repeat(1, variates), of_future.repeat(1, variates)), 1)

    come = ~future.isnan()
    count, ahead = past_time.shape[1], len(steps)
    variate_id = torch.cat((names.repeat_interleave(count), names.repeat_interleave(ahead)))
    return PackedSeries(
        target=torch.cat(
            (tokens(past.nan_to_num(), left, 0), tokens(future.nan_to_num(), 0, right)), 1
        ),
        observed=torch.cat((tokens(observed, left, 0), tokens(come, 0, right)), 1),
        sample_id=each_variate(real.long(), torch.ones_like(future_time)),
        time_id=each_variate(past_time, future_time),
        variate_id=variate_id.expand(len(past), -1),
        future=each_variate(
            torch.zeros_like(past_time, dtype=torch.bool),
            torch.ones_like(future_time, dtype=torch.bool),
        ),
    )


def packed_statistics(
    packed: PackedSeries, eps: float = 1e-5
) -> tuple[Float[Tensor, "batch tokens 1"], Float[Tensor, "batch tokens 1"]]:
    """Mean and `sqrt(sample variance + eps)` of each variate's observed past, in float64.

    Padding tokens get 0 and 1.
    """
    values = packed.target.double()
    known = (packed.observed & ~packed.future.unsqueeze(-1)).double()
    same = (packed.variate_id.unsqueeze(-1) == packed.variate_id.unsqueeze(-2)) & (
        packed.sample_id.unsqueeze(-1) == packed.sample_id.unsqueeze(-2)
    )
    same = same.double()

    def total(of_token: Tensor) -> Tensor:
        return same @ of_token.sum(-1, keepdim=True)

    count = total(known)
    mean = total(values * known) / count.clamp_min(1)
    squares = total((values - mean).square() * known)
    scale = torch.sqrt(squares / (count - 1).clamp_min(1) + eps)
    blank = (packed.sample_id == 0).unsqueeze(-1)
    mean, scale = mean.masked_fill(blank, 0), scale.masked_fill(blank, 1)
    return mean.to(packed.target.dtype), scale.to(packed.target.dtype)
