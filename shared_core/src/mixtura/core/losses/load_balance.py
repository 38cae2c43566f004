"""Load balance: units should be spread over the experts.

Shape letters: N units of all pooled calls, R routed experts.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss, Scope
from mixtura.core.routing import Routing

__all__ = ["LoadBalance", "load_balance"]

Normalization = Literal["one", "k", "units_k"]


def load_balance(
    calls: Sequence[Routing], *, normalization: Normalization = "one"
) -> Float[Tensor, ""]:
    """`R sum_e f_e P_e`, where f_e is how much expert e was used and P_e its mean score.

    The rows of all calls are pooled first; padded and forced units count in neither. What f_e is divided by
    sets the value at perfect balance:

    - `one`: all valid assignments; balance gives 1 (Seg-MoE's code; Megatron's and Switch's form).
    - `k`: the units; balance gives k (the code of Time-MoE, MoHETS and transformers).
    - `units_k`: the units times the number of choices, valid or not; balance gives 1 as long as no
      choice is dropped (the formula printed in the Time-MoE paper).

    Args:
        calls: routings with scores over the same routed experts.
        normalization: the divisor of f.

    Sources: Fedus et al., Switch Transformers, 2021 (arXiv 2101.03961, eq. 4-6); Time-MoE
    (arXiv 2409.16040); Seg-MoE (arXiv 2601.21641).
    """
    counts: Tensor | None = None
    score_sum: Tensor | None = None
    units: Tensor | float = 0.0
    slots: Tensor | float = 0.0
    for call in calls:
        if call.scores is None:
            raise InputError("a load-balance loss needs routings that carry scores")
        scores = call.scores.float()
        routed = scores.shape[-1]
        if call.free is None:
            alive: Tensor | float = float(call.num_units)
        else:
            scores = scores * call.free[:, None]
            alive = call.free.sum().float()
        used = call.counts[:routed].float()
        counts = used if counts is None else counts + used
        total = scores.sum(0)
        score_sum = total if score_sum is None else score_sum + total
        units = units + alive
        slots = slots + alive * (call.choices or 1)
    if counts is None or score_sum is None:
        raise InputError("a load-balance loss needs at least one routing")
    if normalization == "one":
        divisor: Tensor | float = counts.sum()
    elif normalization == "k":
        divisor = units
    elif normalization == "units_k":
        divisor = slots
    else:
        raise InputError(f"normalization must be one, k or units_k, got {normalization!r}")
    frequency = counts / torch.as_tensor(divisor).clamp_min(1.0)
    mean_score = score_sum / torch.as_tensor(units).clamp_min(1.0)
    return len(counts) * (frequency * mean_score).sum()


@configurable
class LoadBalance(Loss):
    """`load_balance` as a configured loss.

    Args:
        weight: factor of the term; 0.02 in Time-MoE, MoHETS and Seg-MoE.
        normalization: see `load_balance`.
        scope: per layer (default: an imbalance cannot cancel another layer's), or pooled.
    """

    name = "load_balance"

    def __init__(
        self,
        weight: float = 0.01,
        *,
        normalization: Normalization = "one",
        scope: Scope = "layer",
    ) -> None:
        super().__init__(weight, scope)
        self.normalization: Normalization = normalization

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        return load_balance(calls, normalization=self.normalization)
