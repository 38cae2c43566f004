"""Pressure on the selectors of DSelect-k to become binary."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mixtura.core.checks import check_number
from mixtura.core.configuration import configurable
from mixtura.core.errors import InputError
from mixtura.core.losses.base import Loss
from mixtura.core.losses.per_unit import kept
from mixtura.core.routing import Routing

__all__ = ["SelectorEntropy"]


@configurable
class SelectorEntropy(Loss):
    """Mean over the gates of `sum_i H(r^(i))`, plus `outside / sum_e r^(i)_e` for each selector.

    The second term keeps selectors from codes that no expert has, which exist where the number of
    experts is not a power of two.

    Hazimeh et al., DSelect-k, NeurIPS 2021 (arXiv 2106.03760, section 3.3 and appendix).

    Args:
        weight: factor of the term.
        outside: see above.
    """

    name = "selector_entropy"

    def __init__(self, weight: float = 1e-3, *, outside: float = 0.0) -> None:
        super().__init__(weight)
        check_number("outside", outside, least=0)
        self.outside = outside

    def __call__(self, calls: Sequence[Routing]) -> Float[Tensor, ""]:
        """The unweighted loss."""
        if not calls:
            raise InputError("a selector entropy needs at least one routing")
        terms = []
        for call in calls:
            selectors = kept(call, "selectors", "DSelectScore")
            entropy = -torch.special.xlogy(selectors, selectors.clamp_min(1e-20)).sum((-1, -2))
            if self.outside:
                inside = selectors.sum(-1).clamp_min(1e-6)
                entropy = entropy + self.outside * (1 / inside).sum(-1)
            if call.free is not None and len(entropy) == len(call.free):
                entropy = entropy[call.free]
            terms.append(entropy)
        pooled = torch.cat(terms)
        return pooled.sum() / max(len(pooled), 1)
