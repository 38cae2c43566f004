"""Windows of several variates as one sequence of patch tokens, and their scale.

Reference: Woo et al., Unified training of universal time series forecasting transformers, ICML 2024
(arXiv 2402.02592): any-variate attention flattens the variates.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from mixtura.core.errors import InputError

__all__ = ["PackedSeries", "pack_windows", "packed_statistics"]


class PackedSeries(NamedTuple):
    """Tokens of a batch: all variates' past tokens, all variates' future tokens, then covariates'.

    Attributes:
        target: values of each token, 0 where there is none.
        observed: whether a value was observed.
        sample_id: 1, or 0 for a token that is only padding.
        time_id: patches since the first one with an observed value.
        variate_id: variate of each token; covariates count on.
        future: whether a token belongs to the horizon and is not known.
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
    known: Float[Tensor, "batch covariates all"] | None = None,
    past_only: Float[Tensor, "batch features time"] | None = None,
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
        known: covariates of the look-back and of the horizon, NaN where one is missing.
        past_only: covariates of the look-back.

    Raises:
        InputError: for covariates of another length.
    """
    if observed is None:
        observed = ~past.isnan()
    if padding is None:
        padding = ~observed.any(1).long().cummax(-1).values.bool()
    time = past.shape[-1]
    _check_length("known", known, time + horizon, "the look-back and the horizon")
    _check_length("past_only", past_only, time, "the look-back")
    wide = max(0, (max_patch_width or patch_width) - patch_width)
    left, right = -time % patch_width, -horizon % patch_width
    if future is None:
        future = past.new_zeros((*past.shape[:2], horizon))
    seen = F.pad(observed, (left, 0)).unflatten(-1, (-1, patch_width))
    begun = seen.any(-1).any(1).long().cummax(-1).values
    past_time = (begun.cumsum(-1) - 1).clamp_min(0)
    steps = torch.arange(1, (horizon + right) // patch_width + 1, device=past.device)
    future_time = past_time.amax(-1, keepdim=True) + steps

    def real(outside: bool) -> Tensor:
        known_to_be = ~F.pad(padding, (left, 0), value=outside)
        return known_to_be.unflatten(-1, (-1, patch_width)).any(-1).long()

    def tokens(values: Tensor, before: int, behind: int) -> Tensor:
        patches = F.pad(values, (before, behind)).unflatten(-1, (-1, patch_width))
        return F.pad(patches, (0, wide)).flatten(1, 2)

    parts: list[PackedSeries] = []

    def add(values: Tensor, seen: Tensor, first: int, *, ahead: bool, given: bool) -> None:
        """The tokens of one side of some variates, the first of which has the number `first`."""
        sides = (0, right) if ahead else (left, 0)
        times = future_time if ahead else past_time
        # the released models take the part of a first patch before a covariate's time as real
        sample = torch.ones_like(times) if ahead else real(outside=first < past.shape[1])
        count = values.shape[1]
        names = torch.arange(first, first + count, device=past.device)
        names = names.repeat_interleave(times.shape[1]).expand(len(past), -1)
        parts.append(
            PackedSeries(
                target=tokens(values.nan_to_num(), *sides),
                observed=tokens(seen, *sides),
                sample_id=sample.repeat(1, count),
                time_id=times.repeat(1, count),
                variate_id=names,
                future=torch.full_like(names, not given, dtype=torch.bool),
            )
        )

    add(past, observed, 0, ahead=False, given=True)
    add(future, ~future.isnan(), 0, ahead=True, given=False)
    first = past.shape[1]
    if known is not None:
        add(known[..., :time], ~known[..., :time].isnan(), first, ahead=False, given=True)
        add(known[..., time:], ~known[..., time:].isnan(), first, ahead=True, given=True)
        first += known.shape[1]
    if past_only is not None:
        add(past_only, ~past_only.isnan(), first, ahead=False, given=True)
    return PackedSeries(*(torch.cat(pieces, 1) for pieces in zip(*parts, strict=True)))


def _check_length(name: str, values: Tensor | None, length: int, what: str) -> None:
    if values is not None and values.shape[-1] != length:
        raise InputError(
            f"{name} must cover {what}, {length} points, got {values.shape[-1]}; cut or extend it"
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
